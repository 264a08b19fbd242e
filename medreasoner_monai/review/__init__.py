"""The page on which clinicians review a data set, who agrees with whom, and the way to other annotation tools."""
