internal import TransfusionCore

/// Which chunks must be read for some requests, in file order, and what to copy out of each.
struct ReadPlan {
    struct ChunkRead: Sendable {
        let chunk: ChunkPlace
        var copies: [BoxCopy]
    }

    private(set) var chunks: [ChunkRead] = []

    init(_ requests: [ReadRequest], _ manifest: Manifest, _ path: String) throws {
        var wanted: [String: [Int]] = [:]
        for (index, request) in requests.enumerated() {
            try Self.check(request.box, manifest, path)
            wanted[request.box.name, default: []].append(index)
        }
        for (name, indices) in wanted {
            guard let tensor = manifest.tensors[name] else { continue }
            for box in tensor.boxes {
                let stored = TensorBox(
                    name: name, type: tensor.type, globalShape: tensor.shape, offsets: box.offsets, sizes: box.sizes)
                let copies = indices.compactMap { BoxCopy(from: stored, to: requests[$0].box, request: $0) }
                guard !copies.isEmpty else { continue }
                for chunk in ChunkPlace.all(
                    of: box, tensor: name, type: tensor.type, chunkBytes: manifest.chunkBytes)
                {
                    let needed = copies.compactMap { $0.clipped(to: chunk.rawRange) }
                    if !needed.isEmpty { chunks.append(ChunkRead(chunk: chunk, copies: needed)) }
                }
            }
        }
        chunks.sort { ($0.chunk.file, $0.chunk.fileOffset) < ($1.chunk.file, $1.chunk.fileOffset) }
    }

    private static func check(_ box: TensorBox, _ manifest: Manifest, _ path: String) throws {
        guard let tensor = manifest.tensors[box.name] else { throw CheckpointError(path, "has no tensor \(box.name)") }
        guard tensor.shape == box.globalShape else {
            throw CheckpointError(
                path, "tensor \(box.name) has the shape \(tensor.shape), not the expected \(box.globalShape)")
        }
        guard tensor.type == box.type else {
            throw CheckpointError(path, "tensor \(box.name) has elements of \(tensor.type), not \(box.type)")
        }
        for axis in box.globalShape.indices {
            precondition(
                box.offsets[axis] >= 0 && box.sizes[axis] >= 0
                    && box.offsets[axis] + box.sizes[axis] <= box.globalShape[axis],
                "\(box.name): the box at \(box.offsets) of size \(box.sizes) leaves the shape \(box.globalShape)")
        }
    }
}

/// The copy of the common part of two boxes of one tensor, from the memory of one to the memory of the other.
struct BoxCopy: Sendable {
    /// Which request the target belongs to.
    let request: Int
    private let width: Int
    /// Sizes of the common part. The last axis is a run of elements that lie together in both memories.
    private var sizes: [Int]
    private var sourceStart: Int
    private var targetStart: Int
    /// Elements from one index to the next along each axis.
    private let sourceStrides: [Int]
    private let targetStrides: [Int]

    init?(from source: TensorBox, to target: TensorBox, request: Int) {
        guard let common = source.intersection(target), !common.sizes.contains(0) else { return nil }
        self.request = request
        width = source.type.byteCount
        let axes = common.sizes.indices
        let strides = { (sizes: [Int]) in axes.map { sizes[($0 + 1)...].reduce(1, *) } }
        let from = strides(source.sizes)
        let to = strides(target.sizes)
        sourceStart = axes.reduce(0) { $0 + (common.offsets[$1] - source.offsets[$1]) * from[$1] }
        targetStart = axes.reduce(0) { $0 + (common.offsets[$1] - target.offsets[$1]) * to[$1] }
        // Axes that are whole in both boxes are one run together with the axis before them.
        var last = common.sizes.count - 1
        while last > 0, common.sizes[last] == source.sizes[last], common.sizes[last] == target.sizes[last] { last -= 1 }
        if last >= 0 {
            sizes = Array(common.sizes[..<last]) + [common.sizes[last...].reduce(1, *)]
            sourceStrides = Array(from[..<last]) + [1]
            targetStrides = Array(to[..<last]) + [1]
        } else {
            (sizes, sourceStrides, targetStrides) = ([1], [1], [1])
        }
    }

    /// This copy without the rows that have nothing in the bytes `range` of the source; `nil` when none is left.
    func clipped(to range: Range<Int>) -> BoxCopy? {
        var copy = self
        // First the rows of the first axis, then the exact run of what is left.
        let stride = sourceStrides[0]
        let reach = zip(sizes.dropFirst(), sourceStrides.dropFirst()).reduce(1) { $0 + ($1.0 - 1) * $1.1 }
        let elements = range.lowerBound / width..<(range.upperBound + width - 1) / width
        let first = max(0, Self.ceilingDivision(elements.lowerBound - sourceStart - reach + 1, stride))
        let end = min(sizes[0], Self.ceilingDivision(elements.upperBound - sourceStart, stride))
        guard first < end else { return nil }
        copy.sourceStart += first * stride
        copy.targetStart += first * targetStrides[0]
        copy.sizes[0] = end - first
        return copy
    }

    /// Where in the target's memory the bytes `range` of the source go, when all of them go to one place in order.
    func wholeTarget(of range: Range<Int>) -> Range<Int>? {
        guard sizes.dropLast().allSatisfy({ $0 == 1 }) else { return nil }
        let first = range.lowerBound / width
        let end = range.upperBound / width
        guard sourceStart <= first, end <= sourceStart + sizes[sizes.count - 1] else { return nil }
        let start = (targetStart + first - sourceStart) * width
        return start..<start + range.count
    }

    private static func ceilingDivision(_ a: Int, _ b: Int) -> Int {
        a >= 0 ? (a + b - 1) / b : -(-a / b)
    }

    /// Copies what lies in `raw`, the bytes of the source box from `offset`.
    func run(from raw: UnsafeRawBufferPointer, at offset: Int, to memory: UnsafeMutableRawBufferPointer) {
        guard let from = raw.baseAddress, let to = memory.baseAddress else { return }
        let chunk = offset / width..<(offset + raw.count) / width
        let run = sizes[sizes.count - 1]
        var index = [Int](repeating: 0, count: sizes.count)
        var source = sourceStart
        var target = targetStart
        while true {
            let start = max(source, chunk.lowerBound)
            let end = min(source + run, chunk.upperBound)
            if start < end {
                (to + (target + start - source) * width)
                    .copyMemory(from: from + (start - chunk.lowerBound) * width, byteCount: (end - start) * width)
            }
            // On to the next run: count up like an odometer, the last axis left out.
            var axis = sizes.count - 2
            while axis >= 0 {
                index[axis] += 1
                source += sourceStrides[axis]
                target += targetStrides[axis]
                if index[axis] < sizes[axis] { break }
                source -= sizes[axis] * sourceStrides[axis]
                target -= sizes[axis] * targetStrides[axis]
                index[axis] = 0
                axis -= 1
            }
            if axis < 0 { return }
        }
    }
}
