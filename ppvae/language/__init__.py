"""Language: what a program may say and see. Calls nobody."""
