internal import Foundation

/// Addresses of this host.
enum LocalAddress {
    /// The one that some of other hosts see when this one speaks to them; nil when none of their names is known here. Sends
    /// nothing.
    static func seen(by hosts: [String]) -> String? {
        for host in hosts {
            for address in addresses(of: host) where !isLoopback(address) {
                if let own = source(towards: address), !isLoopback(own) { return own }
            }
        }
        return nil
    }

    /// Whether a name means this host.
    static func isThisHost(_ name: String) -> Bool {
        let own = ProcessInfo.processInfo.hostName
        if [ComputeHost.localName, own, own.prefix { $0 != "." }.description].contains(name) { return true }
        // The way to an address of this host begins at that address.
        return addresses(of: name).contains { isLoopback($0) || source(towards: $0) == $0 }
    }

    /// Whether an address is one of this host alone: 127.0.0.0/8, as such or mapped into IP version 6, and ::1.
    static func isLoopback(_ address: String) -> Bool {
        var v4 = in_addr(), v6 = in6_addr()
        if inet_pton(AF_INET, address, &v4) == 1 { return UInt32(bigEndian: v4.s_addr) >> 24 == 127 }
        guard inet_pton(AF_INET6, address, &v6) == 1 else { return false }
        let bytes = withUnsafeBytes(of: v6) { Array($0) }
        let zeros = [UInt8](repeating: 0, count: 10)
        return bytes == zeros + [0, 0, 0, 0, 0, 1] || bytes.starts(with: zeros + [0xff, 0xff, 127])
    }

    /// The address from which packets to another one are sent.
    private static func source(towards address: String) -> String? {
        each(of: address) { info -> String? in
            let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let descriptor = socket(info.ai_family, type, 0)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            // To connect a datagram socket only chooses the way.
            guard connect(descriptor, info.ai_addr, info.ai_addrlen) == 0 else { return nil }
            return withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getsockname(descriptor, $0, &length) == 0 ? text($0, length) : nil
                }
            }
        }.first
    }

    private static func addresses(of host: String) -> [String] { each(of: host) { text($0.ai_addr, $0.ai_addrlen) } }

    private static func each<Value>(of host: String, _ body: (addrinfo) -> Value?) -> [Value] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        // The port is not used.
        guard getaddrinfo(host, "9", &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var values: [Value] = []
        var next = list
        while let address = next?.pointee {
            if let value = body(address) { values.append(value) }
            next = address.ai_next
        }
        return values
    }

    private static func text(_ address: UnsafeMutablePointer<sockaddr>, _ length: socklen_t) -> String? {
        var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(address, length, &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST) == 0 else {
            return nil
        }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
