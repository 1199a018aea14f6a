"""What all tests share."""

from hypothesis import settings

# Examples are judged by what comes of them: how long one takes is the machine's doing as much as ours.
settings.register_profile("teachback", deadline=None)
settings.load_profile("teachback")
