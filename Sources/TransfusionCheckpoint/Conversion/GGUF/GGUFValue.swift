/// A value of the metadata of a GGUF file.
///
/// ### References
/// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3
enum GGUFValue {
    case unsigned(Int)
    case float(Float)
    case flag(Bool)
    case text(String)
    case integers([Int32])
    case floats([Float])
    case texts([[UInt8]])

    /// The numbers of the types.
    private enum Kind: UInt32 {
        case unsigned = 4
        case integer = 5
        case float = 6
        case flag = 7
        case text = 8
        case array = 9
    }

    /// Its type and itself.
    func append(to bytes: inout [UInt8]) {
        func list(_ kind: Kind, _ count: Int) {
            bytes.appendLittleEndian(Kind.array.rawValue)
            bytes.appendLittleEndian(kind.rawValue)
            bytes.appendLittleEndian(UInt64(count))
        }
        switch self {
        case .unsigned(let value):
            bytes.appendLittleEndian(Kind.unsigned.rawValue)
            bytes.appendLittleEndian(UInt32(value))
        case .float(let value):
            bytes.appendLittleEndian(Kind.float.rawValue)
            bytes.appendLittleEndian(value.bitPattern)
        case .flag(let value):
            bytes.appendLittleEndian(Kind.flag.rawValue)
            bytes.append(value ? 1 : 0)
        case .text(let text):
            bytes.appendLittleEndian(Kind.text.rawValue)
            bytes.appendGGUF([UInt8](text.utf8))
        case .integers(let values):
            list(.integer, values.count)
            for value in values { bytes.appendLittleEndian(value) }
        case .floats(let values):
            list(.float, values.count)
            for value in values { bytes.appendLittleEndian(value.bitPattern) }
        case .texts(let texts):
            list(.text, texts.count)
            for text in texts { bytes.appendGGUF(text) }
        }
    }
}

extension [UInt8] {
    mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    /// A text with its length.
    mutating func appendGGUF(_ text: [UInt8]) {
        appendLittleEndian(UInt64(text.count))
        append(contentsOf: text)
    }
}
