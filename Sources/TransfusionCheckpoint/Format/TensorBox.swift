public import TransfusionCore

/// An axis-aligned part of a named global tensor. Its elements are in row-major order of the box.
public struct TensorBox: Sendable, Hashable {
    public var name: String
    public var type: ElementType
    public var globalShape: [Int]
    /// Where the box begins along each axis.
    public var offsets: [Int]
    /// How far it extends along each axis.
    public var sizes: [Int]

    public init(name: String, type: ElementType, globalShape: [Int], offsets: [Int], sizes: [Int]) {
        self.name = name
        self.type = type
        self.globalShape = globalShape
        self.offsets = offsets
        self.sizes = sizes
    }

    /// The whole tensor.
    public init(name: String, type: ElementType, shape: [Int]) {
        self.init(
            name: name, type: type, globalShape: shape, offsets: [Int](repeating: 0, count: shape.count), sizes: shape)
    }

    /// The number of elements.
    public var count: Int { sizes.reduce(1, *) }
    public var byteCount: Int { count * type.byteCount }

    /// The boxes, in order, whose contents one after the other are the elements `range` of this box's row-major order;
    /// at most `2 · rank − 1`.
    ///
    /// A sharded optimizer cuts the flat memory of a parameter anywhere; this gives the pieces their place in the
    /// tensor.
    public func boxes(ofFlatRange range: Range<Int>) -> [TensorBox] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "\(range) is not within \(count) elements")
        var boxes: [TensorBox] = []
        appendBoxes(of: range, axis: 0, to: &boxes)
        return boxes
    }

    /// This box is one row thick along the axes before `axis`; `range` counts in the elements of the rest.
    private func appendBoxes(of range: Range<Int>, axis: Int, to boxes: inout [TensorBox]) {
        guard !range.isEmpty else { return }
        guard axis < sizes.count else { return boxes.append(self) }
        let row = sizes[(axis + 1)...].reduce(1, *)
        let first = range.lowerBound / row
        let last = (range.upperBound - 1) / row
        func part(_ rows: Range<Int>) -> TensorBox {
            var box = self
            box.offsets[axis] += rows.lowerBound
            box.sizes[axis] = rows.count
            return box
        }
        let startsRow = range.lowerBound == first * row
        let endsRow = range.upperBound == (last + 1) * row
        if first == last && !(startsRow && endsRow) {
            let inside = range.lowerBound - first * row..<range.upperBound - first * row
            return part(first..<first + 1).appendBoxes(of: inside, axis: axis + 1, to: &boxes)
        }
        if !startsRow {
            part(first..<first + 1)
                .appendBoxes(of: range.lowerBound - first * row..<row, axis: axis + 1, to: &boxes)
        }
        let whole = (startsRow ? first : first + 1)..<(endsRow ? last + 1 : last)
        if !whole.isEmpty { boxes.append(part(whole)) }
        if !endsRow {
            part(last..<last + 1).appendBoxes(of: 0..<range.upperBound - last * row, axis: axis + 1, to: &boxes)
        }
    }

    /// The common part of two boxes of one tensor; `nil` when there is none.
    func intersection(_ other: TensorBox) -> TensorBox? {
        var result = self
        for axis in sizes.indices {
            let start = max(offsets[axis], other.offsets[axis])
            let end = min(offsets[axis] + sizes[axis], other.offsets[axis] + other.sizes[axis])
            guard start < end else { return nil }
            result.offsets[axis] = start
            result.sizes[axis] = end - start
        }
        return result
    }
}

/// A box and its contents in memory, ready to be written.
///
/// `@unchecked Sendable`: threads only read `contents`, and who makes a piece leaves that memory alone until the save
/// has returned. The closure of a computed piece is `@Sendable`.
public struct ShardPiece: @unchecked Sendable {
    public let box: TensorBox
    let contents: Contents

    enum Contents {
        case memory(UnsafeRawBufferPointer)
        case computed(@Sendable (Range<Int>, UnsafeMutableRawBufferPointer) throws -> Void)
    }

    /// A piece that lies in memory, in row-major order of the box.
    public init(_ box: TensorBox, memory: UnsafeRawBufferPointer) {
        precondition(memory.count == box.byteCount, "\(box.name): \(memory.count) bytes for a box of \(box.byteCount)")
        self.box = box
        contents = .memory(memory)
    }

    /// A piece whose bytes are made when they are written: `fill` puts the given byte range of the box into the buffer,
    /// which has just that size. It is called from several threads, in no particular order.
    public init(
        _ box: TensorBox, fill: @escaping @Sendable (Range<Int>, UnsafeMutableRawBufferPointer) throws -> Void
    ) {
        self.box = box
        contents = .computed(fill)
    }

    /// The bytes `range`: in place when they lie in memory, else made now.
    func bytes(_ range: Range<Int>) throws -> ShardWriter.Payload {
        switch contents {
        case .memory(let memory):
            .memory(UnsafeRawBufferPointer(rebasing: memory[range]))
        case .computed:
            .bytes(
                try [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
                    try fill(UnsafeMutableRawBufferPointer(buffer), with: range)
                    count = range.count
                })
        }
    }

    /// Copies the bytes `range` to `buffer`, or makes them there.
    func fill(_ buffer: UnsafeMutableRawBufferPointer, with range: Range<Int>) throws {
        switch contents {
        case .memory(let memory): buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[range]))
        case .computed(let fill): try fill(range, UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count]))
        }
    }
}
