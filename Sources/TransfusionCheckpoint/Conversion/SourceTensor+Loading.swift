internal import TransfusionCore

extension SourceTensor {
    /// Bytes of a tensor that are held at once while loading.
    private static let bytesAtOnce = 16 << 20

    /// Fills this rank's part of a parameter of the same shape, a block of rows at a time.
    func load(into parameter: Parameter) throws {
        precondition(shape == parameter.globalShape, "the weights are not those of the model: \(parameter.name)")
        let source = converted(to: .f32)
        let (offsets, sizes) = parameter.shard.box(in: shape)
        precondition(
            sizes.count <= 2 || sizes.dropFirst().elementsEqual(shape.dropFirst()),
            "\(parameter.name) is split along an axis that is not its first")
        // A vector is a matrix of one column.
        let columns = shape.dropFirst().reduce(1, *), ownColumns = sizes.dropFirst().reduce(1, *)
        let firstColumn = sizes.count == 2 ? offsets[1] : 0
        let rowBytes = columns * MemoryLayout<Float>.stride
        let rowsAtOnce = max(1, min(sizes[0], Self.bytesAtOnce / max(1, rowBytes)))
        let block = UnsafeMutableBufferPointer<Float>.allocate(capacity: rowsAtOnce * columns)
        defer { block.deallocate() }
        for first in stride(from: 0, to: sizes[0], by: rowsAtOnce) {
            let rows = min(rowsAtOnce, sizes[0] - first)
            let start = (offsets[0] + first) * rowBytes
            let whole = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: block[..<(rows * columns)]))
            try source.read(start..<start + whole.count, whole)
            if ownColumns < columns, let base = block.baseAddress {
                // Rows move towards the front only, so none is written over before it is read.
                for row in 0..<rows {
                    (base + row * ownColumns).update(from: base + row * columns + firstColumn, count: ownColumns)
                }
            }
            let own = UnsafeBufferPointer(rebasing: block[..<(rows * ownColumns)])
            parameter.writeMaster(own, at: first * ownColumns)
        }
    }
}

extension [String: SourceTensor] {
    /// Fills this rank's part of every parameter.
    func load(into store: ParameterStore) throws {
        for parameter in store.parameters {
            guard let tensor = self[parameter.name] else {
                preconditionFailure("the weights are not those of the model: \(parameter.name)")
            }
            try tensor.load(into: parameter)
        }
    }

    /// Refuses tensors that are not exactly the expected ones.
    /// - Parameter path: What errors name.
    func require(_ expected: [String: [Int]], of path: String) throws {
        for (name, shape) in expected.sorted(by: { $0.key < $1.key }) {
            guard let tensor = self[name] else { throw CheckpointError(path, "has no tensor \(name)") }
            guard tensor.shape == shape else {
                throw CheckpointError(path, "tensor \(name) has the shape \(tensor.shape), not the expected \(shape)")
            }
            guard tensor.type.isFloat else {
                throw CheckpointError(path, "tensor \(name) has elements of \(tensor.type), not of a float")
            }
        }
        if let unknown = keys.filter({ expected[$0] == nil }).min() {
            throw CheckpointError(path, "has the unknown tensor \(unknown)")
        }
    }
}
