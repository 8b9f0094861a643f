"""Values only: the words of Crosscurrent and their form on the wire. No I/O, no decisions, no clock."""
