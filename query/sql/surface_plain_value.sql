-- One attribute value as plain JSON, by way of the item that has nothing else: digits of numbers stay as they are.
CREATE MACRO plain_value(attribute_value) AS substr(
    plain_item('{"v":' || attribute_value || '}'), 6, length(plain_item('{"v":' || attribute_value || '}')) - 6
);
