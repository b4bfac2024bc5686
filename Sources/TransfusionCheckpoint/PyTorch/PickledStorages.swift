/// What `torch.save` wrote before version 1.6: pickles one after the other, the fourth of which is what was saved, and then the bytes
/// of the storages.
///
/// ### References
/// `_legacy_load` in torch/serialization.py.
struct PickledStorages {
    /// What was saved.
    let pickle: Pickle
    /// The bytes of each storage in the file, by its name.
    let places: [String: Range<Int>]

    private static let pickleLimit = 256 << 20
    private static let version = 1001
    /// Bytes of an element.
    private static let widths: [String: Int] = [
        "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "IntStorage": 4, "LongStorage": 8, "ByteStorage": 1,
        "DoubleStorage": 8, "ShortStorage": 2, "CharStorage": 1, "BoolStorage": 1, "ComplexFloatStorage": 8,
        "ComplexDoubleStorage": 16,
    ]

    init(_ file: any ReadableFile, path: String) throws {
        let (pickles, end) = try Self.pickles(file, path)
        guard case .number(Self.version) = pickles[1].values[pickles[1].root] else {
            throw CheckpointError(path, "is no file of PyTorch: a pickle of something else")
        }
        if case .dictionary(let entries) = pickles[2].values[pickles[2].root],
            let order = entries.first(where: { pickles[2].string($0.key) == "little_endian" }),
            case .number(0) = pickles[2].values[order.value]
        {
            throw CheckpointError(path, "has numbers with their largest byte first; save it on a little-endian machine")
        }
        pickle = pickles[3]
        var types: [String: String] = [:]
        for case .storage(let storage) in pickle.values { types[storage.member] = storage.type }
        var places: [String: Range<Int>] = [:]
        var position = end
        // The last pickle is the list of their names in the order in which they follow.
        for case .string(let name) in pickles[4].values {
            guard let type = types[name], let width = Self.widths[type], position + 8 <= file.byteCount else {
                throw CheckpointError(path, "is cut off or damaged: its storage \(name) is not there")
            }
            var count: Int64 = 0
            try withUnsafeMutableBytes(of: &count) { try file.readAll($0, at: position, path: path) }
            position += 8
            guard count >= 0, count <= (file.byteCount - position) / width else {
                throw CheckpointError(path, "is cut off or damaged: its storage \(name) is not there")
            }
            places[name] = position..<position + Int(count) * width
            position += Int(count) * width
        }
        self.places = places
    }

    /// The five pickles, and where the last one ends. They are small beside the storages, but nobody says how small.
    private static func pickles(_ file: any ReadableFile, _ path: String) throws -> ([Pickle], end: Int) {
        var length = 1 << 20
        while true {
            var bytes = [UInt8](repeating: 0, count: min(file.byteCount, length))
            try bytes.withUnsafeMutableBytes { try file.readAll($0, at: 0, path: path) }
            do {
                var pickles: [Pickle] = []
                for _ in 0..<5 { pickles.append(try Pickle(bytes, from: pickles.last?.end ?? 0, path: path)) }
                return (pickles, pickles[4].end)
            } catch {
                guard length < min(file.byteCount, pickleLimit) else { throw error }
                length *= 8
            }
        }
    }
}
