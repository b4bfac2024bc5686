internal import TransfusionSupport

/// What a command answers to `--json`, a key to a line.
public func printJSON(_ value: some Encodable) throws {
    print(String(decoding: try JSONText.pretty(value), as: UTF8.self), terminator: "")
}
