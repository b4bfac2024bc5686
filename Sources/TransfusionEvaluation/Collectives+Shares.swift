import TransfusionConfig
import TransfusionCore

extension Collectives {
    /// A number for each of some items, worked out by all ranks. Items pass through a model in groups that are the same for any
    /// number of ranks, and each rank takes whole ones, so the numbers are the same bits, too.
    ///
    /// - Parameters:
    ///   - groups: One after the other, up to the last item.
    ///   - title: Of the progress line.
    ///   - work: What ranks do, for errors.
    ///   - numbers: Gives the numbers of a group.
    /// - Returns: All numbers, on all ranks.
    func shared(
        _ groups: [Range<Int>], title: String, work: StaticString, site: StaticString,
        numbers: (Range<Int>) throws -> [Double]
    ) throws -> [Double] {
        var values = [Double](repeating: 0, count: groups.last?.upperBound ?? 0)
        var line = ProgressLine(title, total: rank == 0 ? groups.count : 0)
        try agree(work) {
            for number in stride(from: rank, to: groups.count, by: size) {
                if rank == 0 { line.update(number) }
                for (index, value) in zip(groups[number], try numbers(groups[number])) { values[index] = value }
            }
        }
        line.clear()
        // Every number comes from one rank, and adding zeros changes none.
        return try sum(values, site: site)
    }
}

extension Range<Int> {
    /// Pictures that pass through a network together: so many whatever the number of ranks, for the same bits.
    var groupsOfPictures: [Range<Int>] { parts(of: 8) }

    /// Parts of a length, and what is left.
    func parts(of length: Int) -> [Range<Int>] {
        stride(from: lowerBound, to: upperBound, by: length).map { $0..<Swift.min($0 + length, upperBound) }
    }
}
