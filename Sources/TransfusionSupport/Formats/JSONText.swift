internal import FoundationEssentials

/// Values as JSON that is the same each time: keys in order, slashes as they are, and "inf", "-inf" and "nan" for numbers that
/// JSON lacks.
public enum JSONText {
    /// On one line, without its end.
    public static func line(_ value: some Encodable) throws -> String {
        String(decoding: try encode(value, []), as: UTF8.self)
    }

    /// The contents of a file for people too: a key to a line.
    public static func pretty(_ value: some Encodable) throws -> [UInt8] {
        try encode(value, .prettyPrinted) + [UInt8(ascii: "\n")]
    }

    private static func encode(_ value: some Encodable, _ more: JSONEncoder.OutputFormatting) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = more.union([.sortedKeys, .withoutEscapingSlashes])
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return Array(try encoder.encode(value))
    }
}
