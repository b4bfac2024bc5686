internal import TransfusionCore
internal import TransfusionModels

extension Generator {
    /// Texts that pass through the model together: as many rows as the kernels for few of them take at once.
    static let textsAtOnce = 4

    /// Goes on with several texts side by side, each until EOS, the limits of the settings, or the end of the context: the weights
    /// are read once for a token of each. What a text becomes does not depend on the others, but for rounding.
    ///
    /// - Parameter goesOn: Gets the number of a text and each token of it, and says whether it goes on after that.
    /// - Returns: The new tokens of each.
    /// - Throws: `CommandFailure` when a prompt does not fit into the context.
    func continuations(
        ofTexts prompts: [[Int32]], _ settings: TextSettings, seeds: [UInt64],
        goesOn: (_ text: Int, _ token: Int32) throws -> Bool
    ) throws -> [[Int32]] {
        precondition(prompts.count == seeds.count)
        for prompt in prompts { try requireRoom(for: prompt.count + 2) }
        let batch = SequenceBatch(
            model, capacities: prompts.map { min($0.count + 1 + settings.maximumTokens, contextLength) }, context)
        var texts = prompts.map { _ in [Int32]() }
        var earlier = prompts.map { Set($0).union([configuration.beginOfText]) }
        let samplers = seeds.map { TokenSampler(settings, seed: $0) }
        var open = Array(prompts.indices)
        var asked = open
        var rows = try batch.append(open.map { ($0, [configuration.beginOfText] + prompts[$0]) })
        while true {
            open = open.filter { texts[$0].count < settings.maximumTokens && batch.room(of: $0) > 0 }
            guard !open.isEmpty else { return texts }
            var next: [(sequence: Int, tokens: [Int32])] = []
            for (text, logits) in zip(asked, try batch.lastLogits(rows)) where open.contains(text) {
                try requireFinite(logits)
                let token = samplers[text].choose(from: logits, at: batch.count(of: text), after: earlier[text]) {
                    $0 < configuration.textVocabulary
                        && ![configuration.beginOfText, configuration.beginOfImage, configuration.endOfImage].contains(
                            $0)
                }
                if token == configuration.endOfText { continue }
                earlier[text].insert(token)
                texts[text].append(token)
                if try goesOn(text, token) { next.append((text, [token])) }
            }
            asked = next.map(\.sequence)
            open = asked
            guard !open.isEmpty else { return texts }
            rows = try batch.append(next)
        }
    }
}
