internal import FoundationEssentials
public import TransfusionCore

/// A tensor of a safetensors file.
public struct SafetensorsEntry: Sendable, Equatable {
    public let name: String
    public let type: ElementType
    public let shape: [Int]
    /// Where its bytes lie, counted from the end of the header.
    let range: Range<Int>

    public var byteCount: Int { range.count }
}

/// The table at the beginning of a safetensors file: 8 bytes of length, then JSON.
///
/// ### References
/// The safetensors format as huggingface/safetensors documents it. Like the reference reader, this one wants the
/// tensors to fill the rest of the file without gaps or overlaps, and a header of at most 100 MB.
struct SafetensorsHeader {
    static let byteLimit = 100_000_000
    private static let rankLimit = 8

    /// In the order of the file, but for `unreadable`.
    let entries: [SafetensorsEntry]
    /// The types of tensors with elements that are not read here, by name.
    let unreadable: [String: String]
    let metadata: [String: String]

    /// - Parameter dataBytes: Bytes of the file after the header.
    init(decoding json: [UInt8], dataBytes: Int, path: String) throws {
        guard json.first == UInt8(ascii: "{") else { throw CheckpointError(path, "has a header that is not JSON") }
        let table: Table
        do {
            table = try JSONDecoder().decode(Table.self, from: Data(json))
        } catch {
            throw CheckpointError(path, "has a header that cannot be understood: \(JSONProblem(error))")
        }
        metadata = table.metadata
        let places = try table.tensors
            .map { name, fields in (name: name, range: try Self.range(name, fields, dataBytes, path)) }
            .sorted {
                ($0.range.lowerBound, $0.range.upperBound, $0.name) < (
                    $1.range.lowerBound, $1.range.upperBound, $1.name
                )
            }
        var end = 0
        for (name, range) in places {
            guard range.lowerBound == end else {
                let problem = range.lowerBound < end ? "overlaps the tensor before it" : "leaves a gap before it"
                throw CheckpointError(path, "tensor \(name) \(problem)")
            }
            end = range.upperBound
        }
        guard end == dataBytes else {
            throw CheckpointError(path, "holds \(dataBytes) bytes of data, its header describes \(end)")
        }
        var entries: [SafetensorsEntry] = []
        var unreadable: [String: String] = [:]
        for (name, range) in places {
            guard let fields = table.tensors[name] else { continue }
            if let type = ElementType(safetensorsName: fields.dtype) {
                entries.append(SafetensorsEntry(name: name, type: type, shape: fields.shape, range: range))
            } else {
                unreadable[name] = String(fields.dtype.prefix(16))
            }
        }
        self.entries = entries
        self.unreadable = unreadable
    }

    /// Where a tensor's bytes lie, once they fit to its shape and to the file.
    private static func range(
        _ name: String, _ fields: Table.Fields, _ dataBytes: Int, _ path: String
    ) throws -> Range<Int> {
        func fail(_ problem: String) -> CheckpointError { CheckpointError(path, "tensor \(name) \(problem)") }
        guard fields.shape.count <= rankLimit, let count = Manifest.count(of: fields.shape) else {
            throw fail("has an impossible shape")
        }
        guard fields.offsets.count == 2, fields.offsets[0] >= 0, fields.offsets[0] <= fields.offsets[1],
            fields.offsets[1] <= dataBytes
        else { throw fail("lies outside of the file, which may have been cut off") }
        let range = fields.offsets[0]..<fields.offsets[1]
        // How large an element of an unknown type is, only its maker knows.
        if let type = ElementType(safetensorsName: fields.dtype), range.count != count * type.byteCount {
            throw fail("has \(range.count) bytes for the shape \(fields.shape) of \(type)")
        }
        return range
    }

    /// The header for tensors that will follow each other in the given order, padded to a multiple of 8 bytes.
    static func encode(
        _ tensors: [(name: String, type: ElementType, shape: [Int])], metadata: [String: String]
    ) throws -> [UInt8] {
        var table = Table(tensors: [:], metadata: metadata)
        var offset = 0
        for tensor in tensors {
            let end = offset + tensor.shape.reduce(1, *) * tensor.type.byteCount
            table.tensors[tensor.name] = Table.Fields(
                dtype: tensor.type.safetensorsName, shape: tensor.shape, offsets: [offset, end])
            offset = end
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var json = Array(try encoder.encode(table))
        json += [UInt8](repeating: UInt8(ascii: " "), count: -json.count & 7)
        return withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
    }

    private struct Table: Codable {
        var tensors: [String: Fields]
        var metadata: [String: String]

        struct Fields: Codable {
            var dtype: String
            var shape: [Int]
            var offsets: [Int]

            enum CodingKeys: String, CodingKey {
                case dtype, shape
                case offsets = "data_offsets"
            }
        }

        struct Key: CodingKey {
            static let metadata = Key("__metadata__")
            let stringValue: String
            var intValue: Int? { nil }
            init(_ name: String) { stringValue = name }
            init?(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        init(tensors: [String: Fields], metadata: [String: String]) {
            self.tensors = tensors
            self.metadata = metadata
        }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            metadata = try values.decodeIfPresent([String: String].self, forKey: .metadata) ?? [:]
            tensors = [:]
            for key in values.allKeys where key.stringValue != Key.metadata.stringValue {
                tensors[key.stringValue] = try values.decode(Fields.self, forKey: key)
            }
        }

        func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: Key.self)
            if !metadata.isEmpty { try values.encode(metadata, forKey: .metadata) }
            for (name, fields) in tensors { try values.encode(fields, forKey: Key(name)) }
        }
    }
}

extension ElementType {
    /// The name of the type in safetensors files.
    public var safetensorsName: String {
        switch self {
        case .f32: "F32"
        case .bf16: "BF16"
        case .f16: "F16"
        case .i32: "I32"
        case .i64: "I64"
        case .u8: "U8"
        }
    }

    init?(safetensorsName: String) {
        guard let type = ElementType.allCases.first(where: { $0.safetensorsName == safetensorsName }) else {
            return nil
        }
        self = type
    }
}
