public import TransfusionCore

extension ModelWeights {
    /// Bytes of a tensor that are held at once while loading.
    private static let bytesAtOnce = 16 << 20

    /// Fills this rank's part of every parameter, a block of rows at a time.
    public func load(into store: ParameterStore) throws {
        for parameter in store.parameters {
            guard let tensor = tensors[parameter.name], tensor.shape == parameter.globalShape else {
                preconditionFailure("the weights are not those of the model: \(parameter.name)")
            }
            try Self.load(tensor.converted(to: .f32), into: parameter)
        }
    }

    private static func load(_ tensor: SourceTensor, into parameter: Parameter) throws {
        let (offsets, sizes) = parameter.shard.box(in: parameter.globalShape)
        precondition(sizes.count == 1 || sizes.count == 2, "\(parameter.name) is neither a vector nor a matrix")
        // A vector is a matrix of one column.
        let columns = sizes.count == 2 ? parameter.globalShape[1] : 1
        let (firstColumn, ownColumns) = sizes.count == 2 ? (offsets[1], sizes[1]) : (0, 1)
        let rowBytes = columns * MemoryLayout<Float>.stride
        let rowsAtOnce = max(1, min(sizes[0], bytesAtOnce / rowBytes))
        let block = UnsafeMutableBufferPointer<Float>.allocate(capacity: rowsAtOnce * columns)
        defer { block.deallocate() }
        for first in stride(from: 0, to: sizes[0], by: rowsAtOnce) {
            let rows = min(rowsAtOnce, sizes[0] - first)
            let start = (offsets[0] + first) * rowBytes
            let whole = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: block[..<(rows * columns)]))
            try tensor.read(start..<start + whole.count, whole)
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
