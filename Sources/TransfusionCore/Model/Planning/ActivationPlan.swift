/// The memory that the forward and backward pass of one micro-batch take beyond weights, gradients and optimizer state.
///
/// It is found by going through the operations of `TransfusionModel` in their order with sizes only; a test holds the two
/// together.
public struct ActivationPlan {
    /// The most that tensors take at once, in blocks of the allocator.
    public let peakBytes: Int
    /// The memory of all blocks that the allocator has got from the system by then.
    public let residentBytes: Int

    public init(_ model: ModelConfiguration, _ layout: MemoryPlan.Layout, _ batch: MemoryPlan.MicroBatch) {
        let context = PlannedContext(
            type: layout.type, recomputesCheapTensors: layout.recomputation == .selective)
        let pass = PlannedPass(model: model, batch: batch, layout: layout, context: context)
        pass.forward(layout.recomputation)
        context.backward()
        peakBytes = context.allocator.peakBytes
        residentBytes = context.allocator.residentBytes
    }
}

/// The operations of a pass, each with the memory of the real one.
private struct PlannedPass {
    let model: ModelConfiguration
    let batch: MemoryPlan.MicroBatch
    let layout: MemoryPlan.Layout
    let context: PlannedContext

    private var tensor: Int { layout.tensor }
    /// Whether each rank has a part of the rows of the residual stream.
    private var sharesRows: Bool { layout.sequenceParallel && tensor > 1 }
    /// The longest part of the vocabulary's rows that a rank holds.
    private var vocabularyShare: Int { (model.vocabulary + tensor - 1) / tensor }

    private var width: Int { model.width }
    private var patchRows: Int { batch.images * model.patchesPerImage }
    /// Rows of the residual stream on this rank; the last ranks may have one more than the first.
    private var ownRows: Int { sharesRows ? (batch.rows + tensor - 1) / tensor : batch.rows }

    func forward(_ recomputation: TransfusionModel.Recomputation) {
        let hidden = transformer(recomputation)
        if batch.images > 0 {
            let prediction = linear(gather(hidden, patchRows), model.patchWidth, result: .f32)
            let gradient = context.empty(prediction.rows, prediction.width)
            context.recordRoot { context.add(gradient, to: prediction) }
        }
        crossEntropy(gather(hidden, batch.targets))
    }

    private func transformer(_ recomputation: TransfusionModel.Recomputation) -> PlannedTensor {
        // The noise that the prediction is compared with, and the noised patches.
        let noise = context.empty(patchRows, model.patchWidth, .f32)
        let patches = batch.images > 0 ? encodePatches() : nil
        var x = shareRows(embed(patches))
        for _ in 0..<model.layers {
            switch recomputation {
            case .none, .selective: x = block(x)
            case .full: x = context.checkpointed(x) { block($0) }
            }
        }
        return withExtendedLifetime(noise) { collectRows(norm(x)) }
    }

    private func encodePatches() -> PlannedTensor {
        let patches = context.converted(context.empty(patchRows, model.patchWidth, .f32), to: context.type)
        let sinusoid = context.empty(batch.images, PatchEncoder.sinusoidWidth)
        let timestep = linear(silu(linear(sinusoid, width)), width)
        if model.timestepAfterProjection { return addToGroups(linear(patches, width), timestep) }
        return linear(addToGroups(patches, linear(timestep, model.patchWidth)), width)
    }

    private func block(_ x: PlannedTensor) -> PlannedTensor {
        let afterAttention = add(x, attention(norm(x)))
        return add(afterAttention, feedForward(norm(afterAttention)))
    }

    private func attention(_ x: PlannedTensor) -> PlannedTensor {
        let queryKeyValue = linear(enter(x), 3 * width / tensor)
        return context.recomputable {
            let mixed = context.empty(batch.rows, width / tensor)
            let logSumExp = context.empty(model.heads / tensor, batch.rows, .f32)
            return context.record(mixed) { _ in
                withExtendedLifetime(logSumExp) {
                    context.add(context.empty(queryKeyValue.rows, queryKeyValue.width), to: queryKeyValue)
                }
            }
        } _: {
            leave(linear($0, width))
        }
    }

    private func feedForward(_ x: PlannedTensor) -> PlannedTensor {
        let gateUp = linear(enter(x), 2 * model.feedForward / tensor)
        return context.recomputable {
            // The gradient of the product takes the place of gate and up.
            context.record(context.empty(gateUp.rows, model.feedForward / tensor)) { _ in
                context.add(gateUp, to: gateUp)
            }
        } _: {
            leave(linear($0, width))
        }
    }

    private func linear(_ x: PlannedTensor, _ outputs: Int, result: ElementType? = nil) -> PlannedTensor {
        context.record(context.empty(x.rows, outputs, result)) { dy in
            let dy = context.converted(dy, to: context.type)
            withExtendedLifetime(dy) { context.add(context.empty(x.rows, x.width), to: x) }
        }
    }

    private func norm(_ x: PlannedTensor) -> PlannedTensor {
        let y = context.empty(x.rows, x.width)
        let inverseRMS = context.empty(x.rows, 1, .f32)
        return context.record(y) { _ in withExtendedLifetime(inverseRMS) { context.update(x, .f32) } }
    }

    private func add(_ x: PlannedTensor, _ branch: PlannedTensor) -> PlannedTensor {
        context.record(context.empty(x.rows, x.width, .f32)) { dy in
            context.add(context.converted(dy, to: branch.type), to: branch)
            context.add(dy, to: x)
        }
    }

    private func silu(_ x: PlannedTensor) -> PlannedTensor {
        context.record(context.empty(x.rows, x.width)) { _ in context.add(context.empty(x.rows, x.width), to: x) }
    }

    private func addToGroups(_ x: PlannedTensor, _ addend: PlannedTensor) -> PlannedTensor {
        context.record(context.empty(x.rows, x.width)) { dy in
            context.add(context.empty(addend.rows, addend.width), to: addend)
            context.add(dy, to: x)
        }
    }

    private func embed(_ patches: PlannedTensor?) -> PlannedTensor {
        let x = context.empty(batch.rows, width, .f32)
        return context.record(x) { _ in
            guard let patches else { return }
            context.add(context.empty(patches.rows, patches.width), to: patches)
        }
    }

    private func gather(_ x: PlannedTensor, _ count: Int) -> PlannedTensor {
        context.record(context.empty(count, x.width)) { _ in context.update(x, x.type) }
    }

    private func crossEntropy(_ x: PlannedTensor) {
        guard x.rows > 0 else { return }
        let dx = context.empty(x.rows, x.width)
        let chunk = min(x.rows, Context.rowsOfLogits(vocabularyShare: vocabularyShare))
        let logits = context.empty(chunk, vocabularyShare, .f32)
        if context.type != .f32 { withExtendedLifetime(logits) { _ = context.empty(chunk, vocabularyShare) } }
        context.recordRoot {
            let sum = tensor > 1 ? summedOverRanks(dx) : dx
            context.add(sum, to: x)
        }
    }
}

// What ranks that hold one model together exchange.
extension PlannedPass {
    private func enter(_ x: PlannedTensor) -> PlannedTensor {
        guard tensor > 1 else { return x }
        guard sharesRows else {
            return context.record(x) { dy in context.add(summedOverRanks(dy), to: x) }
        }
        return context.record(context.empty(batch.rows, x.width, x.type)) { dy in
            context.add(summedRows(dy), to: x)
        }
    }

    private func leave(_ x: PlannedTensor) -> PlannedTensor {
        guard tensor > 1 else { return x }
        guard sharesRows else { return context.record(summedOverRanks(x)) { dy in context.add(dy, to: x) } }
        return context.record(summedRows(x)) { dy in
            context.add(context.empty(batch.rows, dy.width, dy.type), to: x)
        }
    }

    private func shareRows(_ x: PlannedTensor) -> PlannedTensor {
        guard sharesRows else { return x }
        return context.record(context.empty(ownRows, x.width, x.type)) { dy in
            context.add(context.empty(batch.rows, dy.width, dy.type), to: x)
        }
    }

    private func collectRows(_ x: PlannedTensor) -> PlannedTensor {
        guard sharesRows else { return x }
        return context.record(context.empty(batch.rows, x.width, x.type)) { dy in
            context.add(context.empty(ownRows, dy.width, dy.type), to: x)
        }
    }

    private func summedOverRanks(_ x: PlannedTensor) -> PlannedTensor {
        context.converted(context.empty(x.rows, x.width, .f32), to: x.type)
    }

    private func summedRows(_ x: PlannedTensor) -> PlannedTensor {
        let sum = context.empty(batch.rows, x.width, .f32)
        return withExtendedLifetime(sum) { context.converted(context.empty(ownRows, x.width, .f32), to: x.type) }
    }
}
