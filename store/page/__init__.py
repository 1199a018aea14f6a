"""The review page: a local web application that asks snapshots and queues decisions to the writer."""
