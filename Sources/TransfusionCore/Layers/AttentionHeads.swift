/// How the columns of `[rows, q | k | v]` are cut into heads.
///
/// ### References
/// Ainslie et al. 2023, "GQA": query heads that follow each other share a head of keys and values.
package struct AttentionHeads: Sendable, Equatable {
    /// Heads of queries on this rank.
    let query: Int
    /// Heads of keys, and of values, on this rank; they divide those of queries.
    let keyValue: Int
    /// Columns of a head.
    let width: Int

    package init(query: Int, keyValue: Int, width: Int) {
        precondition(keyValue > 0 && query % keyValue == 0, "\(query) heads do not share \(keyValue) evenly")
        self.query = query
        self.keyValue = keyValue
        self.width = width
    }

    var queryColumns: Int { query * width }
    var keyValueColumns: Int { keyValue * width }
    var columns: Int { queryColumns + 2 * keyValueColumns }
}
