internal import TransfusionCore
internal import TransfusionModels

/// Which pairs, and which text, each row of some consecutive steps holds.
final class PackedBlock: Sendable {
    struct Row {
        /// Where its pairs stand in `pairs`.
        let pairs: Range<Int>
        /// Tokens of text before this row in the block, and in it.
        let textStart: Int
        let textCount: Int
        /// Tokens of its captions.
        let captions: Int
        /// How many of its pairs show their original.
        let originals: Int
    }

    let number: Int
    let steps: Range<Int>
    /// In the order of the steps.
    let rows: [Row]
    /// Positions in the pair stream, row after row.
    let pairs: [Int]
    /// Pairs of the block that found no room; they are left out of this epoch.
    let leftOut: Int

    init(
        _ block: BatchPhase.Block, _ stream: MixedPairs?, _ settings: BatchSettings, _ model: ModelConfiguration,
        seed: UInt64
    ) throws(DataError) {
        let shape = block.shape
        let overhead = model.pairRows
        var lengths: [Int32] = []
        var hasOriginal: [Bool] = []
        lengths.reserveCapacity(block.pairs.count)
        // Text keeps its share: it would lose tokens for good.
        var room = shape.rows * settings.sequenceLength - shape.text
        for place in block.pairs {
            // A block without pairs has no stream of them.
            guard let element = try stream?.element(at: place) else { break }
            let length = overhead + element.conditionRows
            guard length <= room else { break }
            room -= length
            lengths.append(Int32(length))
            hasOriginal.append(element.original != nil)
        }
        let packing = RowPacking(
            lengths[...], steps: shape.steps, rowsOfStep: settings.globalSequences, rowLength: settings.sequenceLength)
        number = block.number
        steps = block.steps
        leftOut = block.pairs.count - lengths.count + packing.leftOver.count

        var rows: [Row] = []
        rows.reserveCapacity(shape.rows)
        var pairs: [Int] = []
        pairs.reserveCapacity(lengths.count)
        var text = 0
        for packed in Self.deal(packing, shape, settings, block: block.number, seed: seed) {
            let start = pairs.count
            var filled = 0, originals = 0
            for pair in packed.sorted() {
                pairs.append(block.pairs.lowerBound + Int(pair))
                filled += Int(lengths[Int(pair)])
                originals += hasOriginal[Int(pair)] ? 1 : 0
            }
            rows.append(
                Row(
                    pairs: start..<pairs.count, textStart: text, textCount: settings.sequenceLength - filled,
                    captions: filled - packed.count * overhead - originals * model.originalRows, originals: originals))
            text += settings.sequenceLength - filled
        }
        self.rows = rows
        self.pairs = pairs
    }

    /// The rows in the order of the steps, those of a step shuffled, so that no rank gets the longest captions always.
    ///
    /// Of tightly packed rows, every step gets its share of each kind: neighbours in the order of packing hold pairs of like
    /// length, and go to different steps.
    private static func deal(
        _ packing: RowPacking, _ shape: BlockShape, _ settings: BatchSettings, block: Int, seed: UInt64
    ) -> [[Int32]] {
        let (steps, sequences) = (shape.steps, settings.globalSequences)
        let places = (0..<steps).map {
            Permutation(count: sequences, seed: seed, purpose: .rowOrder, epoch: block, index: $0)
        }
        var rows = [[Int32]](repeating: [], count: shape.rows)
        for kind in 0..<sequences {
            let toSteps = Permutation(count: steps, seed: seed, purpose: .rowDealing, epoch: block, index: kind)
            for place in 0..<steps {
                let step = packing.isTight ? toSteps(place) : place
                rows[step * sequences + places[step](kind)] =
                    packing.rows[packing.isTight ? kind * steps + place : place * sequences + kind]
            }
        }
        return rows
    }
}
