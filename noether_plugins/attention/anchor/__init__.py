"""Anchor attention: the groups of a branch read anchors, few tokens that stand for many."""
