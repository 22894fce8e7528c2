"""One pair as arrays: splits and their variants, people and their histories."""
