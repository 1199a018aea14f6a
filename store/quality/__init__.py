"""How good labels are: metrics with intervals, and the tables that show them."""
