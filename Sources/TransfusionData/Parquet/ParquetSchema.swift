/// A column of values in a Parquet file, and the levels at which it can be missing or be repeated.
struct ParquetLeaf {
    let name: String
    let type: ParquetMetadata.PhysicalType
    let typeLength: Int
    let isText: Bool
    /// Which column of each row group it is.
    let index: Int
    /// A value is there where its definition level is this.
    let definition: Int
    /// 1 in a list, else 0.
    let repetition: Int
}

/// A field of the rows of a Parquet file: one value, a structure of values, or a list of values.
struct ParquetField {
    enum Shape {
        case value(ParquetLeaf)
        /// It is there from a definition level on.
        case structure([ParquetLeaf], definition: Int)
        /// It is there from a definition level on, and has an element from the next one on.
        case list(ParquetLeaf, definition: Int)
        /// Anything else, in words.
        case other(String)
    }

    let name: String
    let shape: Shape

    /// The fields of a schema, which is written depth first.
    static func fields(of schema: [ParquetMetadata.SchemaElement]) throws(ThriftReader.Damage) -> [ParquetField] {
        guard let root = schema.first else { throw .init() }
        var reader = SchemaReader(schema: schema)
        var fields: [ParquetField] = []
        for _ in 0..<max(0, root.children) {
            let node = try reader.node(depth: 0)
            fields.append(ParquetField(name: node.element.name, shape: shape(of: node)))
        }
        return fields
    }

    private static func shape(of node: SchemaNode) -> Shape {
        let element = node.element
        let own = element.repetition == .required ? 0 : 1
        if let leaf = node.leaf {
            return element.repetition == .repeated
                ? .list(leaf(1, 1), definition: 0) : .value(leaf(own, 0))
        }
        // A list is a group with one repeated member, which is the element or has it as its only member.
        if node.children.count == 1, node.children[0].element.repetition == .repeated,
            element.repetition != .repeated
        {
            let repeated = node.children[0]
            if let leaf = repeated.leaf { return .list(leaf(own + 1, 1), definition: own) }
            if repeated.children.count == 1, let leaf = repeated.children[0].leaf,
                repeated.children[0].element.repetition != .repeated
            {
                let isOptional = repeated.children[0].element.repetition == .optional
                return .list(leaf(own + (isOptional ? 2 : 1), 1), definition: own)
            }
            return .other("a list of more than single values")
        }
        let members = node.children.compactMap { member -> ParquetLeaf? in
            guard member.element.repetition != .repeated, let leaf = member.leaf else { return nil }
            return leaf(own + (member.element.repetition == .required ? 0 : 1), 0)
        }
        guard members.count == node.children.count, element.repetition != .repeated else {
            return .other("a structure of more than single values")
        }
        return .structure(members, definition: own)
    }
}

/// An element of a schema with those inside it.
private struct SchemaNode {
    var element: ParquetMetadata.SchemaElement
    var children: [SchemaNode] = []
    /// Makes the leaf with its levels; nil for a group.
    var leaf: ((_ definition: Int, _ repetition: Int) -> ParquetLeaf)?
}

private struct SchemaReader {
    static let deepest = 32

    let schema: [ParquetMetadata.SchemaElement]
    var place = 1
    var leaves = 0

    mutating func node(depth: Int) throws(ThriftReader.Damage) -> SchemaNode {
        guard place < schema.count, depth < Self.deepest else { throw .init() }
        let element = schema[place]
        place += 1
        var node = SchemaNode(element: element)
        if element.children > 0 {
            for _ in 0..<element.children { node.children.append(try self.node(depth: depth + 1)) }
        } else if let type = element.type {
            let index = leaves
            leaves += 1
            node.leaf = { definition, repetition in
                ParquetLeaf(
                    name: element.name, type: type, typeLength: element.typeLength, isText: element.isText,
                    index: index,
                    definition: definition, repetition: repetition)
            }
        } else {
            guard element.children == 0 else { throw .init() }
        }
        return node
    }
}
