internal import TransfusionCore

/// The tensors of a file that `torch.save` wrote: `.pth`, `.pt`, `.ckpt`, `.bin`.
///
/// Nothing in the file is run (see `Pickle`), and tensors are read when they are used.
/// ### References
/// PyTorch's serialization notes: a zip file with `data.pkl`, whose tensors are views of the members `data/0`, `data/1` …; before version
/// 1.6 see `PickledStorages`.
struct PyTorchArchive {
    let path: String
    let tensors: [String: SourceTensor]
    /// Names and types of tensors with elements that are not read here.
    let unreadable: [String: String]

    private static let suffixes = [".pth", ".pt", ".ckpt", ".bin"]
    private static let pickleLimit = 256 << 20
    /// Where training code keeps the weights beside other things.
    private static let inner = ["state_dict", "model", "module"]
    private static let types: [String: ElementType] = [
        "FloatStorage": .f32, "HalfStorage": .f16, "BFloat16Storage": .bf16, "IntStorage": .i32, "LongStorage": .i64,
        "ByteStorage": .u8,
    ]

    /// Whether a file with this name is one that `torch.save` writes.
    static func isNamed(_ name: String) -> Bool { suffixes.contains(where: name.hasSuffix) }

    init(_ path: String) throws {
        let file = try POSIXFileSystem().open(path)
        var first = [UInt8](repeating: 0, count: min(4, file.byteCount))
        try first.withUnsafeMutableBytes { try file.readAll($0, at: 0, path: path) }
        if first.first == 0x80 {
            let storages = try PickledStorages(file, path: path)
            try self.init(path, file, storages.pickle) { storages.places[$0.member] }
            return
        }
        guard first == ZipDirectory.firstBytes else {
            throw CheckpointError(path, "is no file of PyTorch: it does not begin like a zip file")
        }
        let zip = try ZipDirectory(file, path: path)
        let pickles = zip.members.keys.filter { $0 == "data.pkl" || $0.hasSuffix("/data.pkl") }
        guard pickles.count == 1, let name = pickles.first, let member = zip.members[name] else {
            throw CheckpointError(path, "is no file of PyTorch: it has \(pickles.count) members data.pkl")
        }
        let folder = String(name.dropLast("data.pkl".count))
        if let order = zip.members[folder + "byteorder"],
            try zip.contents(of: order, limit: 64) != Array("little".utf8)
        {
            throw CheckpointError(path, "has numbers with their largest byte first; save it on a little-endian machine")
        }
        let pickle = try Pickle(zip.contents(of: member, limit: Self.pickleLimit), path: path)
        try self.init(path, file, pickle) { storage in
            try zip.members[folder + "data/" + storage.member].map { member in
                let start = try zip.offset(of: member)
                return start..<start + member.byteCount
            }
        }
    }

    /// - Parameter place: The bytes of a storage in the file.
    private init(
        _ path: String, _ file: any ReadableFile, _ pickle: Pickle, place: (Pickle.Storage) throws -> Range<Int>?
    ) throws {
        self.path = path
        var tensors: [String: SourceTensor] = [:]
        var unreadable: [String: String] = [:]
        for (name, tensor) in try Self.dictionary(of: pickle, path) {
            guard let type = Self.types[tensor.storage.type] else {
                unreadable[name] = tensor.storage.type
                continue
            }
            guard let storage = try place(tensor.storage) else {
                throw CheckpointError(path, "has no member for the tensor \(name)")
            }
            guard let layout = StridedLayout(tensor, elements: storage.count / type.byteCount) else {
                throw CheckpointError(
                    path, "tensor \(name) reaches beyond the \(storage.count) bytes of its storage")
            }
            tensors[name] = SourceTensor(type, tensor.shape) { range, buffer in
                try layout.read(range, buffer, type.byteCount) { bytes, offset in
                    try file.readAll(bytes, at: storage.lowerBound + offset, path: path)
                }
            }
        }
        self.tensors = tensors
        self.unreadable = unreadable
    }

    /// The named tensors of the dictionary that was saved, or of the one inside of it that holds the weights.
    private static func dictionary(of pickle: Pickle, _ path: String) throws -> [String: Pickle.Tensor] {
        func entries(_ value: Int) -> [(name: String, value: Int)] {
            guard case .dictionary(let entries) = pickle.values[value] else { return [] }
            return entries.compactMap { entry in pickle.string(entry.key).map { ($0, entry.value) } }
        }
        func tensors(_ value: Int) -> [(String, Pickle.Tensor)] {
            entries(value).compactMap { name, value in
                if case .tensor(let tensor) = pickle.values[value] { (name, tensor) } else { nil }
            }
        }
        var found = tensors(pickle.root)
        for name in inner where found.isEmpty {
            if let value = entries(pickle.root).last(where: { $0.name == name })?.value { found = tensors(value) }
        }
        guard !found.isEmpty else {
            throw CheckpointError(
                path, "holds no dictionary of tensors, neither by itself nor as \(inner.joined(separator: ", "))")
        }
        // A later entry replaces an earlier one, as in Python.
        return Dictionary(found) { $1 }
    }
}

/// Where the elements of a tensor lie in its storage.
private struct StridedLayout: Sendable {
    private let offset: Int
    private let shape: [Int]
    private let strides: [Int]
    private let isContiguous: Bool

    /// - Parameter elements: Of the storage.
    /// - Returns: Nil when an element lies outside of it.
    init?(_ tensor: Pickle.Tensor, elements: Int) {
        guard tensor.shape.count == tensor.strides.count else { return nil }
        var last = tensor.offset, count = 1, expected = 1
        var isContiguous = true
        for (size, stride) in zip(tensor.shape, tensor.strides).reversed() {
            let (reach, overflow) = max(0, size - 1).multipliedReportingOverflow(by: stride)
            let (end, endOverflow) = last.addingReportingOverflow(reach)
            let (product, productOverflow) = count.multipliedReportingOverflow(by: size)
            guard !overflow, !endOverflow, !productOverflow else { return nil }
            if size > 1, stride != expected { isContiguous = false }
            (last, count, expected) = (end, product, product)
        }
        // Also a tensor that repeats its elements has no more of them than its storage.
        guard count <= elements, count == 0 || last < elements else { return nil }
        offset = tensor.offset
        shape = tensor.shape
        strides = tensor.strides
        self.isContiguous = isContiguous
    }

    /// Puts a byte range of the tensor, whole elements, into a buffer.
    func read(
        _ range: Range<Int>, _ buffer: UnsafeMutableRawBufferPointer, _ width: Int,
        _ load: (UnsafeMutableRawBufferPointer, _ offset: Int) throws -> Void
    ) throws {
        guard !range.isEmpty else { return }
        if isContiguous { return try load(buffer, offset * width + range.lowerBound) }
        let places = (range.lowerBound / width..<range.upperBound / width).map(place)
        guard let first = places.min(), let last = places.max() else { return }
        var run = [UInt8](repeating: 0, count: (last - first + 1) * width)
        try run.withUnsafeMutableBytes { run in
            try load(run, first * width)
            for (index, place) in places.enumerated() {
                UnsafeMutableRawBufferPointer(rebasing: buffer[(index * width)..<((index + 1) * width)])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(
                            rebasing: run[((place - first) * width)..<((place - first + 1) * width)]))
            }
        }
    }

    /// Where an element lies in the storage.
    private func place(_ index: Int) -> Int {
        var rest = index, place = offset
        for (size, stride) in zip(shape, strides).reversed() {
            place += rest % size * stride
            rest /= size
        }
        return place
    }
}
