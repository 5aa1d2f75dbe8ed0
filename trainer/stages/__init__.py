"""The stages of training: what each reads, makes smaller and measures.  All run in the same loop."""
