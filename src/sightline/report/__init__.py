"""The evidence pack: one page and one summary that say what happened and why, made from what the steps committed."""
