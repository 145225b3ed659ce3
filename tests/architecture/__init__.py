"""What must stay true of the code, the tables and the documents whatever is added: the rules of the house."""
