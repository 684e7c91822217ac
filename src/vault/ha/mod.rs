//! Leadership: the lock, the claim, the committer, the feed, reads on standbys and handover.
