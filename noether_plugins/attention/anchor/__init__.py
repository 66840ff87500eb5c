"""Anchor attention: groups of tokens attend to anchors, few tokens that stand for many."""
