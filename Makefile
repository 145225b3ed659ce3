# For people who work on the code. Everything is done by ./run, which needs no make.
.DEFAULT_GOAL := help
.PHONY: help demo test check fix ci bench openapi migrate migration lock

help: ## what there is
	@./run help

demo test check fix ci bench openapi migrate lock: ## ARGS="…" is handed on
	@./run $@ $(ARGS)

migration: ## NAME=reward_ledger
	@./run migration $(NAME)
