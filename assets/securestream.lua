-- A dissector for Wireshark and tshark: packets of securestream in plain, secure and classic mode, as datagrams and in
-- frames on TCP.
--
--   wireshark -X lua_script:assets/securestream.lua capture.pcapng
--   tshark -X lua_script:assets/securestream.lua -r capture.pcapng
--
-- Ports 6000 and 7000 are taken for ours; on UDP others are recognised by their handshake. For any other port use
-- "Decode as", or on the command line:  -d udp.port==9000,securestream  or  -d tcp.port==9000,securestream
--
-- docs/protocol.md draws every byte. Without keys nothing of a secure packet but its header can be shown.

local stream = Proto("securestream", "securestream")

local VERSION_SECURE = 0x53530001
local VERSION_PLAIN = 0x53500001
local long_types = { [0] = "INITIAL", [1] = "0-RTT", [2] = "HANDSHAKE", [3] = "RETRY" }
local versions = { [VERSION_SECURE] = "secure", [VERSION_PLAIN] = "plain", [0] = "negotiation" }
local frame_names = {
    [0x00] = "PADDING", [0x01] = "PING", [0x02] = "ACK", [0x03] = "ACK", [0x04] = "RESET", [0x05] = "STOP",
    [0x06] = "CRYPTO", [0x08] = "STREAM", [0x09] = "STREAM", [0x0a] = "STREAM", [0x0b] = "STREAM", [0x0c] = "STREAM",
    [0x0d] = "STREAM", [0x0e] = "STREAM", [0x0f] = "STREAM", [0x10] = "MAX_DATA", [0x11] = "MAX_CHANNEL_DATA",
    [0x14] = "DATA_BLOCKED", [0x1a] = "PATH_CHALLENGE", [0x1b] = "PATH_RESPONSE", [0x1c] = "CONNECTION_CLOSE",
    [0x1e] = "HANDSHAKE_DONE", [0x20] = "CONSUMED", [0x30] = "DATAGRAM", [0x31] = "DATAGRAM", [0xaf] = "ACK_FREQUENCY",
}

local f = {
    length = ProtoField.uint32("securestream.length", "Frame length on TCP"),
    mode = ProtoField.string("securestream.mode", "Mode"),
    form = ProtoField.string("securestream.form", "Form"),
    kind = ProtoField.string("securestream.type", "Type"),
    version = ProtoField.uint32("securestream.version", "Version", base.HEX, versions),
    dcid = ProtoField.bytes("securestream.dcid", "Destination id"),
    scid = ProtoField.bytes("securestream.scid", "Source id"),
    token = ProtoField.bytes("securestream.token", "Token"),
    body_length = ProtoField.uint64("securestream.body_length", "Length"),
    pn = ProtoField.uint64("securestream.pn", "Packet number (lowest bits)"),
    tag = ProtoField.bytes("securestream.tag", "Tag"),
    sealed = ProtoField.bytes("securestream.sealed", "Encrypted"),
    supported = ProtoField.uint32("securestream.supported", "Supported version", base.HEX, versions),
    frame = ProtoField.string("securestream.frame", "Frame"),
    ack_largest = ProtoField.uint64("securestream.ack.largest", "Largest acknowledged"),
    ack_delay = ProtoField.uint64("securestream.ack.delay_us", "Delay (us)"),
    ack_from = ProtoField.uint64("securestream.ack.from", "From"),
    ack_to = ProtoField.uint64("securestream.ack.to", "To"),
    channel = ProtoField.uint64("securestream.channel", "Channel"),
    offset = ProtoField.uint64("securestream.offset", "Offset"),
    data_length = ProtoField.uint64("securestream.data_length", "Data length"),
    fin = ProtoField.bool("securestream.fin", "FIN"),
    data = ProtoField.bytes("securestream.data", "Data"),
    value = ProtoField.uint64("securestream.value", "Value"),
    reason = ProtoField.string("securestream.reason", "Reason"),
    window = ProtoField.uint32("securestream.classic.window", "Window"),
    read_offset = ProtoField.int32("securestream.classic.read_offset", "Read up to"),
    write_offset = ProtoField.int32("securestream.classic.write_offset", "Data offset"),
}
stream.fields = {}
for _, field in pairs(f) do
    table.insert(stream.fields, field)
end

local damaged = ProtoExpert.new("securestream.damaged", "Cannot be read", expert.group.MALFORMED, expert.severity.WARN)
stream.experts = { damaged }

-- Bits without a library, so that every Lua will do.
local function bits(value, from, count)
    return math.floor(value / 2 ^ from) % 2 ^ count
end

-- A variable-length integer: its range, its value and where it ends. Errors beyond the end of the packet.
local function varint(buffer, at)
    local bytes = math.floor(2 ^ bits(buffer(at, 1):uint(), 6, 2))
    local range = buffer(at, bytes)
    local value = UInt64(bits(range(0, 1):uint(), 0, 6))
    for index = 1, bytes - 1 do
        value = value * 256 + range(index, 1):uint()
    end
    return range, value, at + bytes
end

local function number(value)
    return tonumber(tostring(value))
end

local function add_varint(tree, field, buffer, at)
    local range, value, after = varint(buffer, at)
    tree:add(field, range, value)
    return value, after
end

local readers = {}

local function ack(tree, buffer, at, kind)
    local largest, delay, more, first
    largest, at = add_varint(tree, f.ack_largest, buffer, at)
    delay, at = add_varint(tree, f.ack_delay, buffer, at)
    local range
    range, more, at = varint(buffer, at)
    range, first, at = varint(buffer, at)
    local to = number(largest)
    local from = to - number(first)
    tree:add(f.ack_from, range, UInt64(from))
    tree:add(f.ack_to, range, UInt64(to))
    local words = string.format("%d-%d", from, to)
    for _ = 1, number(more) do
        local gap, length
        range, gap, at = varint(buffer, at)
        range, length, at = varint(buffer, at)
        to = from - number(gap) - 2
        from = to - number(length)
        tree:add(f.ack_from, range, UInt64(from))
        tree:add(f.ack_to, range, UInt64(to))
        words = words .. string.format(" %d-%d", from, to)
    end
    if kind == 0x03 then
        for _ = 1, 3 do
            _, at = add_varint(tree, f.value, buffer, at)
        end
    end
    return at, "ACK " .. words
end
readers[0x02] = ack
readers[0x03] = ack

local function values(count)
    return function(tree, buffer, at, kind)
        local words = frame_names[kind]
        for _ = 1, count do
            local value
            value, at = add_varint(tree, f.value, buffer, at)
            words = words .. " " .. tostring(value)
        end
        return at, words
    end
end
readers[0x04] = values(3)
readers[0x05] = values(2)
readers[0x10] = values(1)
readers[0x11] = values(2)
readers[0x14] = values(1)
readers[0x20] = values(2)
readers[0xaf] = values(3)
readers[0x01] = values(0)
readers[0x1e] = values(0)

readers[0x06] = function(tree, buffer, at)
    local offset, length
    offset, at = add_varint(tree, f.offset, buffer, at)
    length, at = add_varint(tree, f.data_length, buffer, at)
    if number(length) > 0 then
        tree:add(f.data, buffer(at, number(length)))
    end
    return at + number(length), string.format("CRYPTO %s+%s", offset, length)
end

local function stream_frame(tree, buffer, at, kind)
    local offset, length = UInt64(0), nil
    _, at = add_varint(tree, f.channel, buffer, at)
    if bits(kind, 2, 1) == 1 then
        offset, at = add_varint(tree, f.offset, buffer, at)
    end
    if bits(kind, 1, 1) == 1 then
        length, at = add_varint(tree, f.data_length, buffer, at)
        length = number(length)
    else
        length = buffer:len() - at
    end
    local fin = bits(kind, 0, 1) == 1
    tree:add(f.fin, fin)
    if length > 0 then
        tree:add(f.data, buffer(at, length))
    end
    return at + length, string.format("STREAM %s+%d%s", offset, length, fin and " FIN" or "")
end
for kind = 0x08, 0x0f do
    readers[kind] = stream_frame
end

local function eight_bytes(tree, buffer, at, kind)
    tree:add(f.data, buffer(at, 8))
    return at + 8, frame_names[kind]
end
readers[0x1a] = eight_bytes
readers[0x1b] = eight_bytes

readers[0x1c] = function(tree, buffer, at)
    local code, length
    code, at = add_varint(tree, f.value, buffer, at)
    _, length, at = varint(buffer, at)
    length = number(length)
    local reason = ""
    if length > 0 then
        reason = buffer(at, length):string()
        tree:add(f.reason, buffer(at, length), reason)
    end
    return at + length, string.format("CONNECTION_CLOSE %s %s", code, reason)
end

readers[0x30] = function(tree, buffer, at)
    if buffer:len() > at then
        tree:add(f.data, buffer(at))
    end
    return buffer:len(), "DATAGRAM"
end
readers[0x31] = function(tree, buffer, at)
    local length
    length, at = add_varint(tree, f.data_length, buffer, at)
    if number(length) > 0 then
        tree:add(f.data, buffer(at, number(length)))
    end
    return at + number(length), "DATAGRAM"
end

-- The frames of a plain packet, in words.
local function frames(tree, buffer)
    local at, said = 0, {}
    while at < buffer:len() do
        local start = at
        local _, kind, after = varint(buffer, at)
        kind = number(kind)
        local words
        if kind == 0 then
            while after < buffer:len() and buffer(after, 1):uint() == 0 do
                after = after + 1
            end
            at, words = after, string.format("PADDING %d", after - start)
            tree:add(f.frame, buffer(start, at - start), words)
        elseif readers[kind] == nil then
            tree:add(f.frame, buffer(start), string.format("unknown 0x%x", kind))
            table.insert(said, "?")
            break
        else
            local node = tree:add(buffer(start), "Frame")
            at, words = readers[kind](node, buffer, after, kind)
            node:set_len(at - start)
            node:set_text("Frame: " .. words)
            node:add(f.frame, buffer(start, at - start), words)
        end
        table.insert(said, words)
    end
    return table.concat(said, ", ")
end

local function plain_body(tree, buffer, at, pn_bytes)
    local pn = buffer(at, pn_bytes)
    tree:add(f.pn, pn, pn:uint64())
    local body = at + pn_bytes
    local tag = buffer:len() - 4
    local words = ""
    if tag > body then
        words = frames(tree, buffer(body, tag - body):tvb())
    end
    tree:add(f.tag, buffer(tag, 4))
    return string.format("#%s %s", pn:uint64(), words)
end

local function long_header(tree, buffer, first)
    local version = buffer(1, 4):uint()
    local kind = long_types[bits(first, 4, 2)]
    local mode = version == VERSION_PLAIN and "plain" or version == VERSION_SECURE and "secure" or "unknown"
    tree:add(f.form, "long")
    tree:add(f.version, buffer(1, 4))
    if buffer(5, 1):uint() ~= 8 or buffer(14, 1):uint() ~= 8 then
        return mode, kind, "with ids that are not ours"
    end
    tree:add(f.dcid, buffer(6, 8))
    tree:add(f.scid, buffer(15, 8))
    local at = 23
    if version == 0 then
        while at + 4 <= buffer:len() do
            tree:add(f.supported, buffer(at, 4))
            at = at + 4
        end
        return mode, "VERSIONS", ""
    end
    if mode == "unknown" then
        return mode, kind, ""
    end
    if kind == "INITIAL" or kind == "RETRY" then
        local length
        _, length, at = varint(buffer, at)
        length = number(length)
        if length > 0 then
            tree:add(f.token, buffer(at, length))
        end
        at = at + length
        if kind == "RETRY" then
            tree:add(f.tag, buffer(at))
            return mode, kind, string.format("token of %d bytes", length)
        end
    end
    _, at = add_varint(tree, f.body_length, buffer, at)
    if mode == "plain" then
        return mode, kind, plain_body(tree, buffer, at, bits(first, 0, 2) + 1)
    end
    tree:add(f.sealed, buffer(at))
    return mode, kind, string.format("%d bytes encrypted", buffer:len() - at)
end

local function short_header(tree, buffer, first)
    tree:add(f.form, "short")
    tree:add(f.dcid, buffer(1, 8))
    if bits(first, 2, 6) == 8 then
        return "plain", "1-RTT", plain_body(tree, buffer, 9, bits(first, 0, 2) + 1)
    end
    tree:add(f.sealed, buffer(9))
    return "secure", "1-RTT", string.format("%d bytes encrypted", buffer:len() - 9)
end

local function classic(tree, buffer, at)
    tree:add(f.form, "classic")
    if buffer:len() - at < 12 then
        return "classic", "data", "too short"
    end
    local window = buffer(at, 4):le_uint()
    if window > 2 ^ 24 then
        tree:add(f.sealed, buffer(at))
        return "classic", "data", string.format("%d bytes encrypted", buffer:len() - at)
    end
    tree:add_le(f.window, buffer(at, 4))
    tree:add_le(f.read_offset, buffer(at + 4, 4))
    tree:add_le(f.write_offset, buffer(at + 8, 4))
    local data = buffer:len() - at - 12
    if data > 0 then
        tree:add(f.data, buffer(at + 12))
    end
    local words = string.format(
        "window %d, read up to %d, data %d+%d",
        window,
        buffer(at + 4, 4):le_int(),
        buffer(at + 8, 4):le_int(),
        data
    )
    return "classic", data > 0 and "data" or "ack", words
end

local function looks_classic(buffer)
    return buffer:len() >= 16 and buffer(0, 4):le_uint() == buffer:len() - 4
end

-- One packet, whatever carried it.
local function packet(tree, buffer)
    local first = buffer(0, 1):uint()
    if looks_classic(buffer) then
        tree:add_le(f.length, buffer(0, 4))
        return classic(tree, buffer, 4)
    elseif first >= 0xc0 and buffer:len() >= 23 then
        return long_header(tree, buffer, first)
    elseif (first >= 0x40 and first < 0x60 or first >= 0x21 and first <= 0x23) and buffer:len() >= 16 then
        return short_header(tree, buffer, first)
    elseif buffer:len() >= 12 and buffer(0, 4):le_uint() <= 2 ^ 24 then
        return classic(tree, buffer, 0)
    end
    return "unknown", "data", string.format("%d bytes", buffer:len())
end

local function show(buffer, pinfo, tree)
    pinfo.cols.protocol = "securestream"
    local node = tree:add(stream, buffer())
    local done, mode, kind, words = pcall(packet, node, buffer)
    if not done then
        node:add_proto_expert_info(damaged)
        mode, kind, words = "unknown", "damaged", ""
    end
    node:add(f.mode, mode)
    node:add(f.kind, kind)
    node:append_text(string.format(", %s %s", mode, kind))
    local text = string.format("%s %s %s", mode, kind, words)
    if pinfo.cols.info ~= nil then
        pinfo.cols.info:set(text)
    end
end

-- A frame on TCP: four bytes of length, little endian, and the packet.
local function framed(buffer, pinfo, tree)
    if looks_classic(buffer) and buffer:len() >= 16 and buffer(4, 4):le_uint() <= 2 ^ 24 then
        local first = buffer(4, 1):uint()
        local ours = first >= 0xc0 or (first >= 0x40 and first < 0x60) or (first >= 0x21 and first <= 0x23)
        if not ours then
            show(buffer, pinfo, tree)
            return buffer:len()
        end
    end
    if buffer:len() > 4 then
        show(buffer(4):tvb(), pinfo, tree)
    end
    return buffer:len()
end

local function frame_length(buffer, _, offset)
    return buffer(offset, 4):le_uint() + 4
end

function stream.dissector(buffer, pinfo, tree)
    if buffer:len() == 0 then
        return 0
    end
    if pinfo.port_type == 2 then
        dissect_tcp_pdus(buffer, tree, 4, frame_length, framed)
        return buffer:len()
    end
    show(buffer, pinfo, tree)
    return buffer:len()
end

local function heuristic(buffer, pinfo, tree)
    if buffer:len() < 23 or buffer(0, 1):uint() < 0xc0 then
        return false
    end
    local version = buffer(1, 4):uint()
    if version ~= VERSION_SECURE and version ~= VERSION_PLAIN then
        return false
    end
    pinfo.conversation = stream
    stream.dissector(buffer, pinfo, tree)
    return true
end
stream:register_heuristic("udp", heuristic)

for _, port in ipairs({ 6000, 7000 }) do
    DissectorTable.get("udp.port"):add(port, stream)
    DissectorTable.get("tcp.port"):add(port, stream)
end
-- So that "Decode as" offers it for all ports.
DissectorTable.get("udp.port"):add_for_decode_as(stream)
DissectorTable.get("tcp.port"):add_for_decode_as(stream)
