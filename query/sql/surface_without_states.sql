-- Of the changes of a range nothing is told that would need the others.
DROP VIEW trail.versions;
DROP MACRO TABLE trail.blame;
