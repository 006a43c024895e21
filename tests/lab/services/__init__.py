"""Small servers that the hosts of the lab need: DNS, content filter, greylisting, a list manager."""
