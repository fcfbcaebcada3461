"""The language of contracts: sections of a YAML file, each read into the types of agent.sla."""
