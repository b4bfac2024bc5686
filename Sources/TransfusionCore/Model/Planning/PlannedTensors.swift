/// The caching allocator without the memory: what tensors of given sizes would take, in the order in which they come and go.
final class PlannedAllocator {
    /// Bytes in use by tensors now, in blocks of the allocator's size classes.
    private(set) var liveBytes = 0
    private(set) var peakBytes = 0
    /// Bytes that have been written in all blocks so far. The allocator keeps its blocks, so this only grows.
    private(set) var residentBytes = 0
    /// The written bytes of each kept block, by size class.
    private var free: [Int: [Int]] = [:]

    /// - Returns: The written bytes of the block.
    fileprivate func take(_ byteCount: Int) -> Int {
        let size = CachingAllocator.sizeClass(byteCount)
        liveBytes += size
        peakBytes = max(peakBytes, liveBytes)
        let before = free[size]?.popLast() ?? 0
        let after = max(before, CachingAllocator.writtenBytes(byteCount))
        residentBytes += after - before
        return after
    }

    fileprivate func giveBack(_ byteCount: Int, written: Int) {
        let size = CachingAllocator.sizeClass(byteCount)
        liveBytes -= size
        free[size, default: []].append(written)
    }
}

/// A tensor of which only the size counts.
final class PlannedTensor {
    let rows: Int
    let width: Int
    let type: ElementType
    private var block: PlannedBlock?

    var count: Int { rows * width }

    init(_ rows: Int, _ width: Int, _ type: ElementType, _ allocator: PlannedAllocator) {
        self.rows = rows
        self.width = width
        self.type = type
        block = PlannedBlock(rows * width * type.byteCount, allocator)
    }

    /// `Tensor.forget`.
    func forget() {
        block = nil
    }

    /// `Tensor.restore(from:)`.
    func restore(from other: PlannedTensor) {
        block = other.block
    }
}

private final class PlannedBlock {
    private let byteCount: Int
    private let written: Int
    private let allocator: PlannedAllocator

    init(_ byteCount: Int, _ allocator: PlannedAllocator) {
        self.byteCount = byteCount
        self.allocator = allocator
        written = allocator.take(byteCount)
    }

    deinit {
        allocator.giveBack(byteCount, written: written)
    }
}

/// `Context` without the values: the same tape, on which operations keep alive what their backward pass needs.
final class PlannedContext {
    let type: ElementType
    let allocator = PlannedAllocator()
    private let recomputesCheapTensors: Bool
    private var tape: [() -> Void] = []
    private var isRecording = true
    private var gradients: [ObjectIdentifier: PlannedTensor] = [:]

    init(type: ElementType, recomputesCheapTensors: Bool) {
        self.type = type
        self.recomputesCheapTensors = recomputesCheapTensors
    }

    func empty(_ rows: Int, _ width: Int, _ type: ElementType? = nil) -> PlannedTensor {
        PlannedTensor(rows, width, type ?? self.type, allocator)
    }

    func converted(_ x: PlannedTensor, to type: ElementType) -> PlannedTensor {
        x.type == type ? x : empty(x.rows, x.width, type)
    }

    /// Puts an operation on the tape; `backward` keeps what it captures until it has run.
    func record(_ result: PlannedTensor, _ backward: @escaping (_ dy: PlannedTensor) -> Void) -> PlannedTensor {
        if isRecording {
            tape.append { [self] in
                guard let dy = gradients.removeValue(forKey: ObjectIdentifier(result)) else { return }
                backward(dy)
            }
        }
        return result
    }

    func recordRoot(_ backward: @escaping () -> Void) {
        if isRecording { tape.append(backward) }
    }

    /// Gives `x` a gradient, or adds to the one that it has.
    func add(_ gradient: PlannedTensor, to x: PlannedTensor) {
        let key = ObjectIdentifier(x)
        if gradients[key] == nil { gradients[key] = gradient }
    }

    /// Makes sure that `x` has a gradient of the given type.
    func update(_ x: PlannedTensor, _ type: ElementType) {
        let key = ObjectIdentifier(x)
        if gradients[key] == nil { gradients[key] = empty(x.rows, x.width, type) }
    }

    /// `Context.recomputable`.
    func recomputable(_ make: @escaping () -> PlannedTensor, _ use: (PlannedTensor) -> PlannedTensor) -> PlannedTensor {
        let x = make()
        let y = use(x)
        guard isRecording && recomputesCheapTensors else { return y }
        x.forget()
        tape.append { [self] in
            // What is made again is not recorded again.
            isRecording = false
            x.restore(from: make())
        }
        return y
    }

    func backward() {
        isRecording = false
        unwind(to: 0)
        gradients.removeAll()
    }

    private func unwind(to length: Int) {
        while tape.count > length { tape.removeLast()() }
    }

    /// `Context.checkpointed`: nothing inside is kept, and everything is computed again on the way back.
    func checkpointed(
        _ x: PlannedTensor, _ body: @escaping (PlannedTensor) -> PlannedTensor
    ) -> PlannedTensor {
        isRecording = false
        let y = body(x)
        isRecording = true
        tape.append { [self] in
            guard let dy = gradients.removeValue(forKey: ObjectIdentifier(y)) else { return }
            let length = tape.count
            isRecording = true
            let again = body(x)
            isRecording = false
            gradients[ObjectIdentifier(again)] = dy
            unwind(to: length)
        }
        return y
    }
}
