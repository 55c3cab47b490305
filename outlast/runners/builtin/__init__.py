"""The built-in runner, on Pydantic AI: a bare prompt or an agents.yaml.

`front` is its first face (in the server), `body` its second (in an agent process).
"""
