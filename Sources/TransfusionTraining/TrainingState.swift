internal import Foundation
internal import TransfusionCheckpoint
internal import TransfusionCore
internal import TransfusionModels
package import TransfusionParallel

/// What training changes, and a checkpoint keeps: weights, moments, and how far it is.
///
/// The position in the data and the random numbers follow from the step.
package final class TrainingState {
    /// A player with its optimizer.
    struct TrainedPlayer {
        let player: Player
        let optimizer: ShardedAdamW
        /// How often the player was updated.
        var updates = 0

        var parameters: ParameterStore { player.parameters }
    }

    private(set) var players: [TrainedPlayer]
    /// Whether this rank saves the parameters that every tensor-parallel rank holds.
    private let savesWholeParameters: Bool
    /// Steps done.
    package private(set) var step = 0
    /// Tokens trained on, patches included.
    private(set) var tokens = 0
    private(set) var images = 0
    /// What is not in metrics.jsonl yet.
    var logged = LoggedInterval()

    /// Optimizers with zero moments, shared out over the ranks.
    package init(_ players: [Player], _ resources: TrainingResources, order: ReductionOrder) {
        let names = players.flatMap { $0.parameters.parameters.map(\.name) }
        precondition(Set(names).count == names.count, "two players have a parameter of the same name")
        let mesh = resources.mesh, context = resources.context
        self.players = players.map { player in
            TrainedPlayer(
                player: player,
                optimizer: ShardedAdamW(
                    player.parameters, group: mesh.data, tensor: mesh.tensor, settings: player.optimizer, order: order,
                    pool: context.pool, allocator: context.allocator))
        }
        savesWholeParameters = mesh.tensor.rank == 0
    }

    /// The weights of all players, without their gradients and optimizers.
    package var weightBytes: Int {
        players.reduce(0) { $0 + $1.parameters.byteCount }
    }
    /// Of the whole models.
    package var parameterCount: Int {
        players.reduce(0) { $0 + $1.parameters.globalCount }
    }
    package var gradientBytes: Int { players.reduce(0) { $0 + ($1.parameters.gradients?.byteCount ?? 0) } }
    package var optimizerBytes: Int { players.reduce(0) { $0 + $1.optimizer.byteCount } }
    /// Elements whose optimizer state this rank keeps.
    var ownedElements: Int {
        players.flatMap(\.optimizer.optimizer.ownedRanges).reduce(0) { $0 + $1.count }
    }

    /// How many players a backward pass can reach.
    var playersWithGradients: Int { players.count { $0.parameters.gradients != nil } }

    /// The numbers of the players that are trained in a step.
    func trainedPlayers(at step: Int) -> [Int] {
        players.indices.filter { players[$0].player.isTrained(step) }
    }

    /// Updates the weights of a player by its gradients, whose norm is known.
    func update(_ index: Int, learningRate: Double, norm: Double) throws {
        try players[index].optimizer.update(
            step: players[index].updates, learningRate: learningRate, norm: norm,
            clipNorm: players[index].player.clipNorm)
        players[index].updates += 1
    }

    /// Takes note of a step that is done.
    func advance(by summary: StepSummary) {
        step += 1
        tokens += summary.counts.tokens
        images += summary.counts.images
        logged.add(summary)
    }

    static func momentName(_ state: AdamW.State, _ parameter: Parameter) -> String {
        // An average of weights is of use without the optimizer too.
        state == .average
            ? "\(AutoencoderWeights.averagePrefix)\(parameter.name)"
            : "\(momentPrefix)\(state.rawValue).\(parameter.name)"
    }

    private static let momentPrefix = "optimizer."
    private static let loggedName = "since_record"
    private static let updatesName = "updates"

    /// The numbers that go on with the step, as a checkpoint stores them.
    var counters: [String: JSONValue] {
        var counters: [String: JSONValue] = [
            "step": .number(Double(step)), "tokens": .number(Double(tokens)), "images": .number(Double(images)),
        ]
        if logged.steps > 0 { counters[Self.loggedName] = logged.json }
        // Where a player was not trained in every step.
        let updates = players.filter { $0.updates != step }.map {
            ($0.player.name, JSONValue.number(Double($0.updates)))
        }
        if !updates.isEmpty { counters[Self.updatesName] = .object(Dictionary(uniqueKeysWithValues: updates)) }
        return counters
    }

    /// This rank's share of the state: the master weights and moments of what its optimizer owns.
    ///
    /// The pieces lie in the memory of the state: nothing may train until they are written or staged.
    func pieces() -> [ShardPiece] {
        players.flatMap { player in
            player.parameters.parameters.flatMap { pieces(of: $0, player.optimizer.optimizer) }
        }
    }

    private func pieces(of parameter: Parameter, _ optimizer: AdamW) -> [ShardPiece] {
        let owned = parameter.ownedRange
        let isSavedHere = parameter.shard.axis == nil ? savesWholeParameters : parameter.shard.replica == 0
        guard !owned.isEmpty, isSavedHere else { return [] }
        let weight = Self.box(parameter, named: parameter.name)
        let master = MasterWeights(parameter)
        var start = owned.lowerBound
        var pieces: [ShardPiece] = []
        for box in weight.boxes(ofFlatRange: owned) {
            let first = start
            pieces.append(ShardPiece(box) { bytes, buffer in master.read(first, bytes, into: buffer) })
            start += box.count
        }
        for state in optimizer.states {
            guard let moments = optimizer.state(state, of: parameter) else { continue }
            var start = 0
            for box in Self.box(parameter, named: Self.momentName(state, parameter)).boxes(ofFlatRange: owned) {
                let part = UnsafeMutableBufferPointer(rebasing: moments[start..<start + box.count])
                pieces.append(ShardPiece(box, memory: UnsafeRawBufferPointer(part)))
                start += box.count
            }
        }
        return pieces
    }

    /// Takes weights, moments and counters from a checkpoint of any layout.
    func load(_ checkpoint: Checkpoint) throws {
        let known = players.filter { !beginsAnew($0.player, in: checkpoint) }
        let parameters = known.flatMap { player in
            player.parameters.parameters.map { (parameter: $0, optimizer: player.optimizer.optimizer) }
        }
        var expected: [String: [Int]] = [:]
        // A run that goes on may freeze what was trained before.
        var unneeded: Set<String> = []
        for (parameter, optimizer) in parameters {
            expected[parameter.name] = parameter.globalShape
            let moments = optimizer.states.map { Self.momentName($0, parameter) }
            if parameter.isFrozen { unneeded.formUnion(moments) }
            for name in moments where !parameter.isFrozen { expected[name] = parameter.globalShape }
        }
        guard checkpoint.tensors.keys.contains(where: { $0.hasPrefix(Self.momentPrefix) }) else {
            throw CheckpointError(
                checkpoint.path,
                "holds weights only, from which no run can go on; start a new one with model.initial_weights")
        }
        if let frozen = parameters.map(\.parameter).first(where: { parameter in
            !parameter.isFrozen && checkpoint.tensors[parameter.name] != nil
                && AdamW.State.allCases.allSatisfy { checkpoint.tensors[Self.momentName($0, parameter)] == nil }
        }) {
            throw CheckpointError(
                checkpoint.path,
                "has no moments of \(frozen.name), which was frozen until then; keep it in optimizer.frozen, or start a new "
                    + "run with model.initial_weights")
        }
        try checkpoint.require(expected) { !unneeded.contains($0) }
        for (parameter, optimizer) in parameters {
            try Self.loadWeights(parameter, from: checkpoint)
            for state in optimizer.states {
                guard let moments = optimizer.state(state, of: parameter) else { continue }
                let boxes = Self.box(parameter, named: Self.momentName(state, parameter))
                    .boxes(ofFlatRange: parameter.ownedRange)
                try Self.read(boxes, from: checkpoint, into: moments)
            }
        }
        func counter(_ name: String) throws -> Int {
            guard let value = checkpoint.metadata.scalars[name]?.integer, value >= 0 else {
                throw CheckpointError(checkpoint.path, "no counter \"\(name)\": this is no training checkpoint")
            }
            return value
        }
        step = try counter("step")
        tokens = try counter("tokens")
        images = try counter("images")
        let updates = checkpoint.metadata.scalars[Self.updatesName]
        for index in players.indices { players[index].updates = updates?[players[index].player.name]?.integer ?? step }
        logged = LoggedInterval(json: checkpoint.metadata.scalars[Self.loggedName])
    }

    /// Gives a player its initial values when the checkpoint may lack it, and does.
    private func beginsAnew(_ player: Player, in checkpoint: Checkpoint) -> Bool {
        guard player.mayBeMissing,
            player.parameters.parameters.allSatisfy({ checkpoint.tensors[$0.name] == nil })
        else { return false }
        player.parameters.initialize(seed: 0)
        return true
    }

    /// Elements of a weight that are held as f32 at once while loading.
    private static let loadedAtOnce = 1 << 22

    private static func loadWeights(_ parameter: Parameter, from checkpoint: Checkpoint) throws {
        let whole = box(parameter, named: parameter.name)
        let scratch = UnsafeMutableBufferPointer<Float>.allocate(capacity: min(parameter.count, loadedAtOnce))
        defer { scratch.deallocate() }
        for start in stride(from: 0, to: parameter.count, by: loadedAtOnce) {
            let range = start..<min(start + loadedAtOnce, parameter.count)
            let part = UnsafeMutableBufferPointer(rebasing: scratch[..<range.count])
            try read(whole.boxes(ofFlatRange: range), from: checkpoint, into: part)
            parameter.writeMaster(UnsafeBufferPointer(part), at: start)
        }
    }

    /// Reads consecutive boxes into consecutive memory.
    private static func read(
        _ boxes: [TensorBox], from checkpoint: Checkpoint, into memory: UnsafeMutableBufferPointer<Float>
    ) throws {
        var start = 0
        let requests = boxes.map { box in
            defer { start += box.count }
            let part = UnsafeMutableBufferPointer(rebasing: memory[start..<start + box.count])
            return ReadRequest(box, into: UnsafeMutableRawBufferPointer(part))
        }
        try checkpoint.read(requests)
    }

    /// This rank's part of a parameter as a part of the global tensor.
    private static func box(_ parameter: Parameter, named name: String) -> TensorBox {
        let part = parameter.shard.box(in: parameter.globalShape)
        return TensorBox(
            name: name, type: .f32, globalShape: parameter.globalShape, offsets: part.offsets, sizes: part.sizes)
    }
}

/// The master weights of a parameter, for the threads that write a checkpoint.
///
/// `@unchecked Sendable`: the threads only read, and nothing trains until the pieces made of it are written or staged.
private struct MasterWeights: @unchecked Sendable {
    private let parameter: Parameter

    init(_ parameter: Parameter) {
        self.parameter = parameter
    }

    /// Reads a byte range of the box that begins at element `first` of the parameter.
    func read(_ first: Int, _ bytes: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) {
        precondition(bytes.lowerBound % 4 == 0 && bytes.count % 4 == 0, "weights are read in whole elements")
        parameter.readMaster(buffer.bindMemory(to: Float.self), at: first + bytes.lowerBound / 4)
    }
}
