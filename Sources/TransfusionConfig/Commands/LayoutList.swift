public import ArgumentParser

/// Layouts as the command line names them: `2x1` is 2 data-parallel parts of 1 rank.
public struct LayoutList: ExpressibleByArgument {
    public let layouts: [(data: Int, tensor: Int)]

    public init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        layouts = parts.compactMap {
            let numbers = $0.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
            guard numbers.count == 2, let data = numbers[0], let tensor = numbers[1], 1...1_000_000 ~= data,
                1...4096 ~= tensor
            else { return nil }
            return (data, tensor)
        }
        guard layouts.count == parts.count else { return nil }
    }
}
