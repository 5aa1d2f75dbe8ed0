"""The stages of training: what each reads, makes smaller and measures.  All but ``tokenizer`` run in the same loop."""
