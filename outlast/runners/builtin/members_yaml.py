"""The agents of an agents.yaml: their texts, their models, and the names of what they may use."""

from outlast.runners.builtin import keys
from outlast.runners.builtin.crew import Agent, Llm, Named
from outlast.runners.builtin.fields import Fields, text_of
from outlast.runners.builtin.steps_yaml import Text
from outlast.runners.builtin.yaml_text import Mapping, Node, Scalar, YamlFault

MAX_TOKENS = 10_000_000


class AgentReader:
    """Reads agents, and keeps the tools and MCP servers they name with their lines."""

    def __init__(self, default_llm: str | None, notes: list[str]) -> None:
        self._default_llm = default_llm
        self._notes = notes
        self.texts: list[Text] = []
        self.tools: list[Named] = []
        self.mcp: list[Named] = []

    def read(self, key: str, fields: Fields, shared: list[Named]) -> Agent:
        """One agent; `shared` are the MCP servers that all of them may use."""
        special = fields.text("agent")
        if special not in (None, "Agent"):
            raise YamlFault(
                fields.line_of("agent"), f"agent {special} does not work here; leave the kind out."
            )
        tools = [Named(item.text.strip(), item.line) for item in fields.names("tools") or ()]
        own = self.servers(fields.node("mcp"), f"mcp of {fields.what}")
        self.tools += tools
        return Agent(
            key=key,
            name=fields.text("name") or key,
            role=self._text(fields, "role"),
            goal=self._text(fields, "goal"),
            instructions=self._instructions(fields),
            llm=self._llm(fields),
            tools=_once(tools),
            mcp=_once([*shared, *own]),
        )

    def servers(self, node: Node | None, what: str) -> list[Named]:
        """`[name]`, `{servers: [name]}` or `{servers: {name: {enabled: true}}}`: names, never commands."""
        if isinstance(node, Mapping):
            node = Fields(node, keys.MCP, what, self._notes).node("servers")
        match node:
            case None:
                named = []
            case Scalar():
                named = [Named(node.text.strip(), node.line)]
            case Mapping():
                named = [
                    Named(name, entry.line)
                    for name, entry in node.entries.items()
                    if self._is_enabled(name, entry.value)
                ]
            case _:
                named = [Named(text_of(item, f"each of {what}").strip(), item.line) for item in node.items]
        self.mcp += named
        return named

    def _is_enabled(self, name: str, node: Node) -> bool:
        if isinstance(node, Scalar) and node.is_null:
            return True
        server = Fields(node, keys.MCP_SERVER, f"MCP server {name}", self._notes)
        return server.flag("enabled") or not server.has("enabled")

    def _instructions(self, fields: Fields) -> str | None:
        # Both are documented together, as how somebody works and who they are: the model is told both.
        told = [self._text(fields, name) for name in ("instructions", "backstory")]
        return "\n\n".join(text for text in told if text) or None

    def _llm(self, fields: Fields) -> Llm:
        node = fields.node("llm", "model")
        if not isinstance(node, Mapping):
            name = text_of(node, f"llm of {fields.what}").strip() if node else self._default_llm
            return Llm(without_provider(name))
        llm = Fields(node, keys.LLM, f"llm of {fields.what}", self._notes)
        return Llm(
            model=without_provider(llm.text("model") or self._default_llm),
            temperature=llm.number("temperature", 0, 2),
            top_p=llm.number("top_p", 0, 1),
            max_tokens=llm.count("max_tokens", 1, MAX_TOKENS),
            seed=llm.count("seed", -(2**63), 2**63 - 1),
            presence_penalty=llm.number("presence_penalty", -2, 2),
            frequency_penalty=llm.number("frequency_penalty", -2, 2),
        )

    def _text(self, fields: Fields, name: str) -> str | None:
        text = fields.text(name)
        if text is not None:
            self.texts.append((text, fields.line_of(name)))
        return text


def without_provider(model: str | None) -> str | None:
    """`openai/gpt-4o` is how LiteLLM writes "gpt-4o, in OpenAI's dialect", and that is all this server speaks."""
    return model.removeprefix("openai/") if model else None


def _once(named: list[Named]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.name for each in named))
