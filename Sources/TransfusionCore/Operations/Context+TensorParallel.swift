// What ranks that hold one model together exchange. A group of one exchanges nothing.
//
// With sequence parallelism each rank keeps a run of the rows of the residual stream, `rowOffsets[rank] ..<
// rowOffsets[rank + 1]`, from the first block to the last norm, and a split layer begins by collecting all rows.
extension Context {
    /// The input of a layer that is split by outputs: itself forward (all rows, when rows are shared out); the gradients
    /// of the parts are summed backward.
    ///
    /// ### References
    /// Shoeybi et al. 2019, "Megatron-LM", section 3 (the operator f); Korthikanti et al. 2022, "Reducing activation
    /// recomputation", section 4.2.2 (the operator g).
    func enterTensorParallel(_ x: Tensor) throws -> Tensor {
        guard tensorParallel.size > 1 else { return x }
        guard let rowOffsets else {
            return record(x.reshaped(x.shape)) { [self] dy, gradients in
                gradients.add(try summedOverRanks(dy, site: "tensor-parallel input gradient"), to: x)
            }
        }
        return record(try allRows(x, rowOffsets, site: "tensor-parallel input")) { [self] dy, gradients in
            gradients.add(try summedRows(dy, rowOffsets, site: "tensor-parallel input gradient"), to: x)
        }
    }

    /// The output of a layer that is split by inputs: the sum of the parts forward (this rank's rows of it, when rows are
    /// shared out); itself backward.
    ///
    /// ### References
    /// Shoeybi et al. 2019, section 3 (the operator g); Korthikanti et al. 2022, section 4.2.2 (g with a bar).
    func leaveTensorParallel(_ x: Tensor) throws -> Tensor {
        guard tensorParallel.size > 1 else { return x }
        guard let rowOffsets else {
            return record(try summedOverRanks(x, site: "tensor-parallel output")) { dy, gradients in
                gradients.add(dy, to: x)
            }
        }
        return record(try summedRows(x, rowOffsets, site: "tensor-parallel output")) { [self] dy, gradients in
            gradients.add(try allRows(dy, rowOffsets, site: "tensor-parallel output gradient"), to: x)
        }
    }

    /// `x · Wᵀ` as two ranks make it, each of half of the inputs.
    func linearInHalves(_ x: Tensor, _ weight: Parameter, result: ElementType?) -> Tensor {
        let rows = 0..<x.rows, outputs = 0..<weight.value.rows
        let halves = [0..<x.width / 2, x.width / 2..<x.width].map { inputs in
            let y = empty([x.rows, outputs.count], result)
            multiply(
                MatrixView(x).slice(rows: rows, columns: inputs),
                MatrixView(weight.value).transposed.slice(rows: inputs, columns: outputs), into: MatrixView(y))
            return converted(y, to: .f32)
        }
        accumulate(halves[1], into: halves[0])
        count(2 * Double(x.rows) * Double(weight.globalCount))
        return converted(halves[0], to: result ?? type)
    }

    /// Begins a pass over `x`, the residual stream of all rows: from here each rank keeps its run of them, if the context
    /// is to share rows out.
    package func shareRows(_ x: Tensor) -> Tensor {
        let group = tensorParallel
        guard sharesRows, group.size > 1 else {
            rowOffsets = nil
            return x
        }
        let offsets = (0...group.size).map { x.rows * $0 / group.size }
        rowOffsets = offsets
        return record(ownRows(x, offsets)) { [self] dy, gradients in
            gradients.add(try allRows(dy, offsets, site: "gradient of all rows"), to: x)
        }
    }

    /// Ends what `shareRows` began: all rows on every rank. What follows is computed alike by all ranks.
    package func collectRows(_ x: Tensor) throws -> Tensor {
        guard let rowOffsets else { return x }
        return record(try allRows(x, rowOffsets, site: "all rows")) { [self] dy, gradients in
            gradients.add(ownRows(dy, rowOffsets), to: x)
        }
    }

    /// The sum of `x` over the ranks.
    func summedOverRanks(_ x: Tensor, site: StaticString) throws -> Tensor {
        let sum = empty(x.shape, .f32)
        copy(x, at: 0, to: sum, at: 0, count: x.count)
        try tensorParallel.allReduceSum(sum.f32, site: site)
        return converted(sum, to: x.type)
    }

    /// This rank's rows of the sum of `x` over the ranks.
    private func summedRows(_ x: Tensor, _ offsets: [Int], site: StaticString) throws -> Tensor {
        let sum = empty(x.shape, .f32)
        copy(x, at: 0, to: sum, at: 0, count: x.count)
        try tensorParallel.reduceScatterSum(sum.f32, offsets: offsets.map { $0 * x.width }, site: site)
        return converted(ownRows(sum, offsets), to: x.type)
    }

    /// All rows, of which each rank brings its own.
    private func allRows(_ x: Tensor, _ offsets: [Int], site: StaticString) throws -> Tensor {
        let all = empty([offsets[tensorParallel.size], x.width], x.type)
        copy(x, at: 0, to: all, at: offsets[tensorParallel.rank] * x.width, count: x.count)
        let rowBytes = x.width * x.type.byteCount
        try tensorParallel.allGather(all.bytes, offsets: offsets.map { $0 * rowBytes }, site: site)
        return all
    }

    /// A copy of this rank's rows.
    private func ownRows(_ x: Tensor, _ offsets: [Int]) -> Tensor {
        let first = offsets[tensorParallel.rank]
        let rows = offsets[tensorParallel.rank + 1] - first
        let own = empty([rows, x.width], x.type)
        copy(x, at: first * x.width, to: own, at: 0, count: own.count)
        return own
    }
}
