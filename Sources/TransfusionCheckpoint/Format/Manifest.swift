internal import FoundationEssentials
internal import TransfusionCore
internal import TransfusionSupport

/// What a checkpoint says about itself beside its tensors.
public struct CheckpointMetadata: Sendable, Equatable, Codable {
    /// The contents of the model's `config.json`.
    public var model: JSONValue
    /// What tells one tokenizer from another: the digest of its file, or the name of a built-in one.
    public var tokenizer: String?
    /// The digest of the data set.
    public var data: String?
    /// The digest of the autoencoder whose latents the model was trained on; nil without latents.
    public var autoencoder: String?
    /// How the job that saved it was laid out, as in `["data": 4, "tensor": 2]`. For people; no reader needs it.
    public var layout: [String: Int]
    /// Named values of the training run, such as tokens and images seen.
    public var scalars: [String: JSONValue]

    public init(
        model: JSONValue, tokenizer: String? = nil, data: String? = nil, layout: [String: Int] = [:],
        scalars: [String: JSONValue] = [:]
    ) {
        self.model = model
        self.tokenizer = tokenizer
        self.data = data
        self.layout = layout
        self.scalars = scalars
    }
}

/// How a chunk's elements are stored. The raw values appear in manifests.
enum ChunkEncoding: String, Codable, Sendable {
    /// As they are.
    case raw
    /// One zstd frame.
    case zstd
    /// All first bytes of the elements, then all second bytes, and so on; then one zstd frame.
    case shuffledZstd = "shuffle+zstd"
}

/// A run of a box's bytes as it lies in a shard file.
struct StoredChunk: Codable, Sendable, Equatable {
    var encoding: ChunkEncoding
    /// Bytes in the file.
    var bytes: Int
    /// SHA-256 of the bytes in the file.
    var sha256: String
}

/// A box of a tensor and where its bytes are: chunk after chunk in `file` from byte `offset`.
struct StoredBox: Codable, Sendable, Equatable {
    var offsets: [Int]
    var sizes: [Int]
    var file: String
    var offset: Int
    var chunks: [StoredChunk]
}

struct StoredTensor: Codable, Sendable, Equatable {
    var type: ElementType
    var shape: [Int]
    var boxes: [StoredBox]
}

/// The table of contents of a checkpoint directory. docs/checkpoint-format.md is its specification.
struct Manifest: Codable, Sendable, Equatable {
    static let fileName = "manifest.json"
    static let format = "transfusion-checkpoint"
    static let newestVersion = 1
    /// The longest manifest that is read.
    static let byteLimit = 256 << 20

    var format = Self.format
    var version = Self.newestVersion
    var step: Int
    /// Seconds since 1970 when the save began.
    var created: Int
    /// The transfusion that wrote it; nil before 0.3. For people: what readers need is the format version.
    var program: String? = ProductVersion.full
    /// Bytes of a box in each chunk but its last.
    var chunkBytes: Int
    var encryption: Encryption?
    var metadata: CheckpointMetadata
    /// The size of each shard file.
    var files: [String: Int]
    var tensors: [String: StoredTensor]

    enum CodingKeys: String, CodingKey {
        case format, version, step, created, program, encryption, metadata, files, tensors
        case chunkBytes = "chunk_bytes"
    }

    /// How the stored bytes are encrypted, and a check value that tells a wrong key.
    struct Encryption: Codable, Sendable, Equatable {
        var cipher: String
        var keyCheck: String

        enum CodingKeys: String, CodingKey {
            case cipher
            case keyCheck = "key_check"
        }
    }
}

extension Manifest {
    // The file is `{"sha256":"<64 digits>",` and then the rest of the object, whose SHA-256 the digits are: a reader
    // needs no canonical form of JSON, and every byte of the file is covered.
    private static let opening = Array("{\"sha256\":\"".utf8)
    private static let closing = Array("\",".utf8)

    func encoded() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let rest = Array(try encoder.encode(self).dropFirst())
        return Self.opening + Array(SHA256.hexDigest(rest).utf8) + Self.closing + rest
    }

    /// Reads and checks the manifest of the checkpoint in `directory`.
    init(readingFrom directory: String, _ fileSystem: any FileSystem) throws {
        let path = Paths.join(directory, Self.fileName)
        try self.init(decoding: try fileSystem.contents(path, limit: Self.byteLimit), path: path)
    }

    init(decoding bytes: [UInt8], path: String) throws {
        let prefix = Self.opening.count + 64 + Self.closing.count
        let beginsWithDigest =
            bytes.count > prefix && bytes.starts(with: Self.opening)
            && bytes[(prefix - Self.closing.count)..<prefix].elementsEqual(Self.closing)
        let rest = bytes.dropFirst(prefix)
        if beginsWithDigest,
            !SHA256.hexDigest(rest).utf8.elementsEqual(bytes[Self.opening.count..<prefix - Self.closing.count])
        {
            throw CheckpointError(path, "does not match its own SHA-256; it was damaged or edited")
        }
        // A manifest of the future may keep its digest elsewhere, and what damage made of a version is none.
        try Self.checkVersion(bytes, path)
        guard beginsWithDigest else {
            throw CheckpointError(path, "does not begin with its SHA-256; it was cut off, edited or is no manifest")
        }
        do {
            self = try JSONDecoder().decode(Manifest.self, from: Data([UInt8(ascii: "{")] + rest))
        } catch {
            throw CheckpointError(path, "has no valid table of contents: \(JSONProblem(error))")
        }
        try validate(path)
    }

    private static func checkVersion(_ bytes: [UInt8], _ path: String) throws {
        struct Head: Decodable {
            var format: String
            var version: Int
        }
        guard let head = try? JSONDecoder().decode(Head.self, from: Data(bytes)) else { return }
        guard head.format == format else {
            throw CheckpointError(path, "is no transfusion checkpoint but '\(head.format.prefix(40))'")
        }
        guard head.version <= newestVersion else {
            var error = CheckpointError(
                path,
                "has format version \(head.version), newer than the \(newestVersion) known here; it is left alone: go on "
                    + "with the newer transfusion that wrote it")
            error.reason = .newerVersion
            throw error
        }
    }
}

extension Manifest {
    static let chunkByteLimit = 1 << 26
    private static let rankLimit = 8
    private static let boxLimit = 1 << 14

    /// Checks everything that the readers rely on, so that they can compute with what is left.
    func validate(_ path: String) throws {
        func require(_ holds: Bool, _ problem: @autoclosure () -> String) throws {
            if !holds { throw CheckpointError(path, problem()) }
        }
        try require(step >= 0, "has the negative step \(step)")
        try require(
            chunkBytes > 0 && chunkBytes % 8 == 0 && chunkBytes <= Self.chunkByteLimit,
            "has a chunk size of \(chunkBytes) bytes; a multiple of 8 up to \(Self.chunkByteLimit) is expected")
        for (file, bytes) in files {
            try require(Self.isShardName(file), "names the file '\(file)', which is no name of a shard")
            try require(bytes >= 0, "gives the file \(file) a negative size")
        }
        for (name, tensor) in tensors {
            guard tensor.shape.count <= Self.rankLimit, let count = Self.count(of: tensor.shape) else {
                throw CheckpointError(path, "gives tensor \(name) the impossible shape \(tensor.shape)")
            }
            try require(
                tensor.boxes.count <= Self.boxLimit, "cuts tensor \(name) into more than \(Self.boxLimit) boxes")
            for box in tensor.boxes { try validate(box, of: name, tensor, path) }
            try Coverage.check(
                tensor.boxes.map { ($0.offsets, $0.sizes) }, covers: tensor.shape, count: count, tensor: name, path)
        }
        try validateFileRanges(path)
        if let encryption {
            try require(encryption.cipher == EncryptionKey.cipher, "asks for the unknown cipher '\(encryption.cipher)'")
        }
    }

    private func validate(_ box: StoredBox, of name: String, _ tensor: StoredTensor, _ path: String) throws {
        func fail(_ problem: String) -> CheckpointError { CheckpointError(path, "tensor \(name): \(problem)") }
        guard let fileBytes = files[box.file] else { throw fail("lies in the file '\(box.file)', which is not listed") }
        guard let count = Self.count(of: box.sizes) else { throw fail("has a box of impossible size \(box.sizes)") }
        let byteCount = count * tensor.type.byteCount
        guard box.chunks.count == (byteCount + chunkBytes - 1) / chunkBytes else {
            throw fail("has \(box.chunks.count) chunks for a box of \(box.sizes)")
        }
        guard box.offset >= 0, box.offset <= fileBytes else { throw fail("begins outside of \(box.file)") }
        var end = box.offset
        for (index, chunk) in box.chunks.enumerated() {
            // What does not become smaller is stored as it is.
            let rawBytes = min(chunkBytes, byteCount - index * chunkBytes)
            let limit = rawBytes + (encryption == nil ? 0 : EncryptionKey.addedBytes)
            guard chunk.bytes > 0, chunk.bytes <= limit, chunk.bytes <= fileBytes - end else {
                throw fail("has a chunk of \(chunk.bytes) bytes for \(rawBytes) in \(box.file)")
            }
            end += chunk.bytes
        }
    }

    /// The boxes of a file must fill it without a gap: what no digest covers could change unseen.
    private func validateFileRanges(_ path: String) throws {
        var ranges: [String: [(start: Int, end: Int)]] = [:]
        for box in tensors.values.lazy.flatMap(\.boxes) {
            ranges[box.file, default: []].append((box.offset, box.offset + box.chunks.reduce(0) { $0 + $1.bytes }))
        }
        for (file, bytes) in files {
            var end = 0
            for range in (ranges[file] ?? []).sorted(by: { $0.start < $1.start }) {
                guard range.start == end else {
                    throw CheckpointError(path, "leaves or uses twice bytes of \(file) around \(min(range.start, end))")
                }
                end = range.end
            }
            guard end == bytes else { throw CheckpointError(path, "uses \(end) of the \(bytes) bytes of \(file)") }
        }
    }

    /// Shards lie beside the manifest: a name must not lead elsewhere.
    private static func isShardName(_ name: String) -> Bool {
        name.hasSuffix(".shard") && !name.hasPrefix(".") && name.utf8.count <= 200 && !name.contains("/")
            && !name.utf8.contains(0)
    }

    /// The number of elements, unless that is negative or too large to be true.
    static func count(of shape: [Int]) -> Int? {
        var count = 1
        for size in shape {
            guard size >= 0, size < 1 << 48 else { return nil }
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow, product < 1 << 48 else { return nil }
            count = product
        }
        return count
    }
}

/// The proof that boxes fill a tensor, each element once.
enum Coverage {
    static func check(
        _ boxes: [(offsets: [Int], sizes: [Int])], covers shape: [Int], count: Int, tensor: String, _ path: String
    ) throws {
        func fail(_ problem: String) -> CheckpointError { CheckpointError(path, "tensor \(tensor): \(problem)") }
        var covered = 0
        for (offsets, sizes) in boxes {
            guard offsets.count == shape.count, sizes.count == shape.count else {
                throw fail("a box has \(offsets.count) axes, the tensor has \(shape.count)")
            }
            for axis in shape.indices {
                guard offsets[axis] >= 0, sizes[axis] > 0, sizes[axis] <= shape[axis],
                    offsets[axis] <= shape[axis] - sizes[axis]
                else { throw fail("the box at \(offsets) of size \(sizes) leaves the shape \(shape)") }
            }
            covered += sizes.reduce(1, *)
        }
        let boxes = boxes.sorted { ($0.offsets.first ?? 0) < ($1.offsets.first ?? 0) }
        for (index, box) in boxes.enumerated() {
            for other in boxes[(index + 1)...] {
                if let axis = shape.indices.first, other.offsets[axis] >= box.offsets[axis] + box.sizes[axis] { break }
                let overlap = shape.indices.allSatisfy {
                    max(box.offsets[$0], other.offsets[$0])
                        < min(box.offsets[$0] + box.sizes[$0], other.offsets[$0] + other.sizes[$0])
                }
                if overlap { throw fail("the boxes at \(box.offsets) and \(other.offsets) overlap") }
            }
        }
        // Boxes inside the tensor that do not overlap fill it exactly when their volumes add up.
        guard covered == count else { throw fail("\(covered) of \(count) elements are there") }
    }
}

/// A decoding error in words: where in the JSON, and what.
public struct JSONProblem: CustomStringConvertible {
    public let description: String

    public init(_ error: any Error) {
        func place(_ context: DecodingError.Context) -> String {
            let path = context.codingPath.map { String($0.stringValue.prefix(80)) }.joined(separator: ".")
            return path.isEmpty ? "" : " at \(path)"
        }
        description =
            switch error {
            case DecodingError.keyNotFound(let key, let context): "'\(key.stringValue)' is missing\(place(context))"
            case DecodingError.valueNotFound(let type, let context):
                "null and no \(Self.kind(of: type))\(place(context))"
            case DecodingError.typeMismatch(let type, let context):
                "no \(Self.kind(of: type))\(place(context))"
            case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
                "an impossible value\(place(context))"
            case is DecodingError: "it is not JSON"
            default: "\(error)"
            }
    }

    /// What JSON calls that which a Swift type is read from.
    private static func kind(of type: any Any.Type) -> String {
        switch type {
        case is String.Type: "text"
        case is Bool.Type: "boolean"
        case is any BinaryInteger.Type: "integer"
        case is any BinaryFloatingPoint.Type: "number"
        case is [Any].Type: "list"
        default: "object"
        }
    }
}
