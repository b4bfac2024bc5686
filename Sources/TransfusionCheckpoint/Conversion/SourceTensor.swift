internal import Synchronization
public import TransfusionCore

/// A tensor that is made when it is read: from a file, from other tensors, or by rule.
///
/// Conversions are chains of these, so that only the pieces which are just being written are in memory.
public struct SourceTensor: Sendable {
    public let type: ElementType
    public let shape: [Int]
    /// Puts a byte range, whole elements, into a buffer of that size.
    let read: @Sendable (Range<Int>, UnsafeMutableRawBufferPointer) throws -> Void

    public var byteCount: Int { shape.reduce(1, *) * type.byteCount }

    /// A tensor of a checkpoint.
    init(_ box: TensorBox, of checkpoint: Checkpoint) {
        type = box.type
        shape = box.globalShape
        read = { range, buffer in
            let width = box.type.byteCount
            var done = 0
            let requests = box.boxes(ofFlatRange: range.lowerBound / width..<range.upperBound / width).map { part in
                defer { done += part.byteCount }
                return ReadRequest(
                    part, into: UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + part.byteCount]))
            }
            try checkpoint.read(requests)
        }
    }

    /// A tensor of a safetensors file.
    init(_ entry: SafetensorsEntry, of file: SafetensorsFile) {
        type = entry.type
        shape = entry.shape
        read = { range, buffer in try file.read(entry, at: range.lowerBound, into: buffer) }
    }

    init(
        _ type: ElementType, _ shape: [Int],
        read: @escaping @Sendable (Range<Int>, UnsafeMutableRawBufferPointer) throws -> Void
    ) {
        self.type = type
        self.shape = shape
        self.read = read
    }

    /// The initial values of a parameter: those of `Parameter.initialize`.
    static func initial(
        _ name: String, _ shape: [Int], _ initialization: Parameter.Initialization, seed: UInt64
    ) -> SourceTensor {
        let hash = name.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
        let philox = Philox(seed: seed, purpose: .weights, index: Int(hash))
        return SourceTensor(.f32, shape) { range, buffer in
            let floats = buffer.bindMemory(to: Float.self)
            switch initialization {
            case .zeros: floats.initialize(repeating: 0)
            case .ones: floats.initialize(repeating: 1)
            case .normal(let deviation):
                philox.fillNormal(floats, offset: range.lowerBound / 4, standardDeviation: deviation)
            }
        }
    }

    /// Rows of a matrix, or elements of a vector.
    func rows(_ rows: Range<Int>) -> SourceTensor {
        let row = byteCount / max(1, shape[0])
        return SourceTensor(type, [rows.count] + shape.dropFirst()) { range, buffer in
            try read(range.lowerBound + rows.lowerBound * row..<range.upperBound + rows.lowerBound * row, buffer)
        }
    }

    /// The rows of this tensor and then those of another of the same type.
    func followed(by other: SourceTensor) -> SourceTensor {
        let border = byteCount
        return SourceTensor(type, [shape[0] + other.shape[0]] + shape.dropFirst()) { range, buffer in
            let first = range.clamped(to: 0..<border)
            if !first.isEmpty { try read(first, UnsafeMutableRawBufferPointer(rebasing: buffer[..<first.count])) }
            let second = range.clamped(to: border..<border + other.byteCount)
            guard !second.isEmpty else { return }
            try other.read(
                second.lowerBound - border..<second.upperBound - border,
                UnsafeMutableRawBufferPointer(rebasing: buffer[(range.count - second.count)...]))
        }
    }

    /// Whether both have the same elements, bit for bit, in the same shape.
    func hasEqualBits(_ other: SourceTensor) throws -> Bool {
        guard type == other.type, shape == other.shape else { return false }
        let most = 1 << 20
        var (a, b) = ([UInt8](repeating: 0, count: most), [UInt8](repeating: 0, count: most))
        for start in stride(from: 0, to: byteCount, by: most) {
            let range = start..<min(start + most, byteCount)
            try a.withUnsafeMutableBytes { try read(range, .init(rebasing: $0[..<range.count])) }
            try b.withUnsafeMutableBytes { try other.read(range, .init(rebasing: $0[..<range.count])) }
            guard a[..<range.count] == b[..<range.count] else { return false }
        }
        return true
    }

    /// The same rows in another order: row `r` of the result is row `source(r)` of this tensor, which is held in
    /// memory as a whole while it is asked for.
    func permutedRows(_ source: @escaping @Sendable (Int) -> Int) -> SourceTensor {
        let whole = Held()
        let row = byteCount / max(1, shape[0])
        return SourceTensor(type, shape) { range, buffer in
            try whole.withBytes(of: self, isLast: range.upperBound == byteCount) { bytes in
                var position = range.lowerBound
                while position < range.upperBound {
                    let (index, offset) = position.quotientAndRemainder(dividingBy: row)
                    let count = min(row - offset, range.upperBound - position)
                    let start = source(index) * row + offset
                    UnsafeMutableRawBufferPointer(rebasing: buffer[(position - range.lowerBound)...])
                        .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]))
                    position += count
                }
            }
        }
    }

    /// The contents of a tensor from its first use to its last.
    private final class Held: Sendable {
        private let bytes = Mutex<[UInt8]>([])

        func withBytes(
            of tensor: SourceTensor, isLast: Bool, _ body: (UnsafeRawBufferPointer) throws -> Void
        ) throws {
            try bytes.withLock { bytes in
                if bytes.isEmpty {
                    bytes = [UInt8](repeating: 0, count: tensor.byteCount)
                    try bytes.withUnsafeMutableBytes { try tensor.read(0..<tensor.byteCount, $0) }
                }
                try bytes.withUnsafeBytes(body)
                if isLast { bytes = [] }
            }
        }
    }
}
