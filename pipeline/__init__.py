"""Options, recipe, the graph, publishing and the command line: where the flow starts and everything is wired."""
