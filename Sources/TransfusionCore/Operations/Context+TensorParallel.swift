extension Context {
    /// The input of a layer that is split by outputs: itself forward; the gradients of the parts are summed backward.
    ///
    /// ### References
    /// Shoeybi et al. 2019, "Megatron-LM", section 3 (the operator f).
    func enterTensorParallel(_ x: Tensor) -> Tensor {
        guard tensorParallel.size > 1 else { return x }
        return record(x.reshaped(x.shape)) { [self] dy, gradients in
            gradients.add(try summedOverRanks(dy, site: "tensor-parallel input gradient"), to: x)
        }
    }

    /// The output of a layer that is split by inputs: the sum of the parts forward; itself backward.
    ///
    /// ### References
    /// Shoeybi et al. 2019, "Megatron-LM", section 3 (the operator g).
    func leaveTensorParallel(_ x: Tensor) throws -> Tensor {
        guard tensorParallel.size > 1 else { return x }
        return record(try summedOverRanks(x, site: "tensor-parallel output")) { dy, gradients in
            gradients.add(dy, to: x)
        }
    }

    private func summedOverRanks(_ x: Tensor, site: StaticString) throws -> Tensor {
        let sum = empty(x.shape, .f32)
        copy(x, at: 0, to: sum, at: 0, count: x.count)
        try tensorParallel.allReduceSum(sum.f32, site: site)
        return converted(sum, to: x.type)
    }
}
