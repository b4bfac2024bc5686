/// A dense row-major array on aligned memory.
///
/// A tensor is a node of the tape as well as a value: its identity says which gradient belongs to it. Tensors belong to
/// the thread that made them and are not `Sendable`; only copies of their contents cross threads.
public final class Tensor {
    public let shape: [Int]
    public let type: ElementType
    private var storage: Storage
    /// Where the first element lies in the storage, in bytes.
    private let byteOffset: Int

    /// A tensor with undefined contents.
    public init(_ shape: [Int], _ type: ElementType, allocator: CachingAllocator) {
        self.shape = shape
        self.type = type
        byteOffset = 0
        storage = Storage(byteCount: shape.reduce(1, *) * type.byteCount, allocator: allocator)
    }

    private init(_ shape: [Int], _ type: ElementType, storage: Storage, byteOffset: Int) {
        precondition(
            byteOffset >= 0 && byteOffset + shape.reduce(1, *) * type.byteCount <= storage.byteCount,
            "a view of shape \(shape) does not fit into its storage")
        self.shape = shape
        self.type = type
        self.storage = storage
        self.byteOffset = byteOffset
    }

    /// A tensor over memory that somebody else owns; `release` runs when no tensor uses it any more.
    public convenience init(
        _ shape: [Int], _ type: ElementType, wrapping memory: UnsafeMutableRawBufferPointer,
        release: @escaping () -> Void
    ) {
        self.init(shape, type, storage: Storage(wrapping: memory, release: release), byteOffset: 0)
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }
    public var byteCount: Int { count * type.byteCount }
    /// The length of the last axis.
    public var width: Int { shape.last ?? 1 }
    /// How many runs of `width` elements there are: the product of all axes but the last.
    public var rows: Int { shape.dropLast().reduce(1, *) }

    /// The memory of the elements.
    public var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: storage.address + byteOffset, count: byteCount)
    }

    /// The same elements under another shape.
    public func reshaped(_ shape: [Int]) -> Tensor {
        precondition(shape.reduce(1, *) == count, "\(self.shape) cannot be seen as \(shape)")
        return Tensor(shape, type, storage: storage, byteOffset: byteOffset)
    }

    /// Elements `offset ..< offset + count` in memory order, under the given shape.
    public func view(at offset: Int, _ shape: [Int]) -> Tensor {
        Tensor(shape, type, storage: storage, byteOffset: byteOffset + offset * type.byteCount)
    }

    /// Whether no other tensor lies on the same memory.
    func ownsItsStorage() -> Bool {
        isKnownUniquelyReferenced(&storage)
    }

    /// Gives up the memory. The tensor stays a node of the tape, without contents until `restore(from:)`.
    func forget() {
        precondition(ownsItsStorage(), "the memory of a tensor that others lie on cannot be given up")
        storage = Storage.none
    }

    /// Takes over the contents of `other`.
    func restore(from other: Tensor) {
        precondition(other.shape == shape && other.type == type && other.byteOffset == byteOffset)
        storage = other.storage
    }

    public func fill(_ value: Float) {
        guard storage.isBacked else { return }
        switch type {
        case .f32: f32.update(repeating: value)
        case .bf16: bf16.update(repeating: BFloat16(value))
        case .i32: i32.update(repeating: Int32(value))
        case .f16, .i64, .u8: preconditionFailure("fill is not defined for \(type)")
        }
    }
}

// Typed access. Each traps when the tensor holds another type: that is an error of the program, never of its input.
extension Tensor {
    public var f32: UnsafeMutableBufferPointer<Float> { elements(.f32) }
    public var bf16: UnsafeMutableBufferPointer<BFloat16> { elements(.bf16) }
    public var i32: UnsafeMutableBufferPointer<Int32> { elements(.i32) }

    private func elements<Element>(_ expected: ElementType) -> UnsafeMutableBufferPointer<Element> {
        precondition(type == expected, "a tensor of \(type) was used as \(expected)")
        return bytes.bindMemory(to: Element.self)
    }

    /// The elements as an array of `Float`, converted when they are bf16.
    public func floats() -> [Float] {
        switch type {
        case .f32: Array(f32)
        case .bf16: bf16.map(\.float)
        default: preconditionFailure("\(type) does not convert to Float")
        }
    }
}
