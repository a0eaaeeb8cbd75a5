SELECT item_key, image, other_image FROM compared
