internal import TransfusionCore

/// How two sets of named tensors differ, bit for bit.
public struct TensorComparison: Codable, Sendable {
    public var equal = 0
    public var onlyInFirst: [String] = []
    public var onlyInSecond: [String] = []
    public var different: [Difference] = []

    public struct Difference: Codable, Sendable {
        public let name: String
        /// Shapes or types, when these differ already.
        public let kinds: [String]?
        public let differingElements: Int
        public let elements: Int
        /// The largest absolute difference of floating-point numbers; `nil` when one is not finite.
        public let largest: Double?
    }

    public var isEqual: Bool { onlyInFirst.isEmpty && onlyInSecond.isEmpty && different.isEmpty }

    private static let pieceBytes = 8 << 20

    /// Compares what is at two paths: checkpoints in any layout, models, or files of tensors.
    /// - Parameter progress: Called with the numbers of tensors done and in all.
    public init(_ first: String, _ second: String, progress: (Int, Int) -> Void = { _, _ in }) throws {
        let a = try Self.tensors(first)
        let b = try Self.tensors(second)
        onlyInFirst = a.keys.filter { b[$0] == nil }.sorted()
        onlyInSecond = b.keys.filter { a[$0] == nil }.sorted()
        for (index, (name, tensor)) in a.sorted(by: { $0.key < $1.key }).enumerated() {
            if let other = b[name] {
                if let difference = try Self.compare(name, tensor, other) {
                    different.append(difference)
                } else {
                    equal += 1
                }
            }
            progress(index + 1, a.count)
        }
    }

    private static func tensors(_ path: String) throws -> [String: SourceTensor] {
        let names = WeightFile.isNamed(path) ? [] : Set(try POSIXFileSystem().list(path))
        // A run of latents has the file of its autoencoder beside its checkpoints.
        if CheckpointLocation.isLocation(names) {
            let checkpoint = try CheckpointLocation(path).newest()
            return checkpoint.tensors.mapValues { SourceTensor($0, of: checkpoint) }
        }
        // A Llama with the rest of the model beside it is compared as the whole.
        if names.contains(LlamaFormat.sideFileName) {
            return try WeightFormat(detectedAt: path).open(path).tensors
        }
        let directory = try SafetensorsDirectory(path)
        try directory.requireAllReadable()
        return directory.tensors
    }

    private static func compare(_ name: String, _ a: SourceTensor, _ b: SourceTensor) throws -> Difference? {
        let elements = a.shape.reduce(1, *)
        guard a.shape == b.shape, a.type == b.type else {
            return Difference(
                name: name, kinds: ["\(a.type) \(a.shape)", "\(b.type) \(b.shape)"], differingElements: elements,
                elements: elements, largest: nil)
        }
        let buffers = (0..<2).map { _ in
            UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceBytes, alignment: 64)
        }
        defer { for buffer in buffers { buffer.deallocate() } }
        let width = a.type.byteCount
        var differing = 0
        var largest = 0.0
        for start in stride(from: 0, to: a.byteCount, by: Self.pieceBytes) {
            let range = start..<min(start + Self.pieceBytes, a.byteCount)
            let (x, y) = (
                UnsafeMutableRawBufferPointer(rebasing: buffers[0][..<range.count]),
                UnsafeMutableRawBufferPointer(rebasing: buffers[1][..<range.count])
            )
            try a.read(range, x)
            try b.read(range, y)
            if x.elementsEqual(y) { continue }
            for offset in stride(from: 0, to: range.count, by: width)
            where !x[offset..<offset + width].elementsEqual(y[offset..<offset + width]) {
                differing += 1
                let difference = abs(value(x, offset, a.type) - value(y, offset, a.type))
                largest = difference.isNaN ? .infinity : max(largest, difference)
            }
        }
        guard differing > 0 else { return nil }
        return Difference(
            name: name, kinds: nil, differingElements: differing, elements: elements,
            largest: largest.isFinite ? largest : nil)
    }

    private static func value(_ buffer: UnsafeMutableRawBufferPointer, _ offset: Int, _ type: ElementType) -> Double {
        switch type {
        case .f32: Double(buffer.loadUnaligned(fromByteOffset: offset, as: Float.self))
        case .bf16: Double(BFloat16(bits: buffer.loadUnaligned(fromByteOffset: offset, as: UInt16.self)).float)
        case .f16: Double(buffer.loadUnaligned(fromByteOffset: offset, as: Float16.self))
        case .i32: Double(buffer.loadUnaligned(fromByteOffset: offset, as: Int32.self))
        case .i64: Double(buffer.loadUnaligned(fromByteOffset: offset, as: Int64.self))
        case .u8: Double(buffer[offset])
        }
    }
}
