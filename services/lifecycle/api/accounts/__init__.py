"""Routes of S2: the same activities, by account, under ULIDs."""
