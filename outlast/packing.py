"""Bytes made small: what the journal keeps is JSON that resembles other JSON. The first byte says how it was done."""

import zlib

_PLAIN, _DEFLATED = b"\x00", b"\x01"
_RAW = -zlib.MAX_WBITS
"""Deflate without a header and a checksum: the rows are small, and the database has checksums of its own."""

# Never to be changed: what was packed with it is unpacked with it. A better one gets a first byte of its own. What is
# likeliest stands last.
_WORDS = (
    b'{"error":{"message":"","type":"invalid_request_error","param":null,"code":null}}'
    b'{"tools":[{"function":{"description":"","name":"","parameters":{"additionalProperties":false,"properties":{"":'
    b'{"title":"","type":"integer"},"items":{"type":"array"},"required":[""],"type":"object"},"strict":true},'
    b'"type":"function"}],"tool_choice":"auto","temperature":0,"max_tokens":,"parallel_tool_calls":true,"model":"gpt-"}'
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"msg_","output_index":0,'
    b'"content_index":0,"delta":"","logprobs":[],"sequence_number":}\n\n'
    b'{"arguments":"{\\"","call_id":"call_","id":"fc_","name":"","status":"completed","type":"function_call"}'
    b'{"call_id":"call_","output":"","type":"function_call_output"}'
    b'{"annotations":[],"text":"","type":"output_text"}{"type":"input_text"}{"type":"reasoning","sum'
    b'mary":[],"id":"rs_"}'
    b'{"id":"resp_","object":"response","created_at":1,"status":"completed","output":[],"usage":{"input_tokens":,'
    b'"input_tokens_details":{"cached_tokens":0},"output_tokens":,"output_tokens_details":{"reasoning_tokens":0}}}'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""'
    b'}}\n\n{"type":"message_start","message":{"id":"msg_","type":"message","role":"assistant","stop'
    b'_reason":"tool_use",'
    b'"stop_sequence":null}}{"type":"tool_result","tool_use_id":"toolu_","content":"","is_error":false}'
    b'{"type":"tool_use","id":"toolu_","input":{}}{"type":"text","text":""}'
    b"The the of and to in that is for it was with as on be at by this are from or have an not which you one can "
    b'application/json\n{"id":"chatcmpl-","object":"chat.completion","created":17,"model":"gpt-4o-mi'
    b'ni-2024-07-18","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"","refusal":null,"annotations":[]},"logprobs":null,"f'
    b'inish_reason":"stop"'
    b'}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":1,"prompt_tokens_details":{"cached_tokens":0,'
    b'"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted'
    b'_prediction_tokens":'
    b'0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_"}'
    b'text/event-stream; charset=utf-8\ndata: {"id":"chatcmpl-","object":"chat.completion.chunk","cr'
    b'eated":17,"model":"gpt-4o-mini-2024-07-18",'
    b'"service_tier":"default","system_fingerprint":"fp_","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":'
    b'"call_","type":"function","function":{"name":"","arguments":""}}]},"logprobs":null,"finish_rea'
    b'son":"tool_calls"}]}'
    b'\n\ndata: {"id":"chatcmpl-","object":"chat.completion.chunk","created":17,"model":"","choices":[{"index":0,'
    b'"delta":{"content":""},"finish_reason":null}],"usage":null}\n\ndata: [DONE]\n\n'
    b'{"content":[{"text":"","type":"text"}],"role":"system"}{"content":"","role":"user"}'
    b'{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{\\"","name":""},"id":"call_",'
    b'"type":"function"}]}{"content":"","role":"tool","tool_call_id":"call_"}{"content":"","role":"assistant"}'
)


def pack(data: bytes) -> bytes:
    """The bytes, smaller if that can be."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, _RAW, zdict=_WORDS)
    small = deflate.compress(data) + deflate.flush()
    return _DEFLATED + small if len(small) < len(data) else _PLAIN + data


def unpack(packed: bytes) -> bytes:
    """What was packed."""
    if packed[:1] == _PLAIN:
        return packed[1:]
    inflate = zlib.decompressobj(_RAW, _WORDS)
    return inflate.decompress(packed[1:]) + inflate.flush()
