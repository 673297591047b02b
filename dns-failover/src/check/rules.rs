//! The rules that zones are held against. Ids that Zonemaster has mean what they mean there.

use crate::diagnostic::rules;

const SOA: &str = "RFC 1035 section 3.3.13, RFC 1912 section 2.2";
const SPREAD: &str = "RFC 2182 section 3.1";
const HOST: &str = "RFC 952, RFC 1123 section 2.1";

rules! {
    // The apex.
    NO_SOA error "ZONE10" "RFC 1035 section 5.2", "put exactly one SOA record at the apex";
    SOA_ELSEWHERE error "SOA03" "RFC 1035 section 5.2", "remove the SOA record; only the apex has one";
    REFRESH warning "ZONE02" SOA, "set the refresh of the SOA to 14400 seconds or more; NOTIFY makes secondaries quick";
    RETRY_NOT_BELOW_REFRESH warning "ZONE03" SOA, "set the retry of the SOA below its refresh";
    RETRY warning "ZONE04" SOA, "set the retry of the SOA to 3600 seconds or more";
    EXPIRE warning "ZONE05" SOA, "set the expire of the SOA to 604800 seconds or more, and to no less than its refresh";
    MINIMUM warning "ZONE06" "RFC 2308 section 5", "set the minimum of the SOA to 300 to 86400 seconds";
    MNAME_ALIAS error "ZONE07" "RFC 2181 section 10.3", "name the primary by its own name in the SOA";
    MNAME warning "ZONE01" "RFC 1996 section 2", "name a primary in the SOA that exists";
    SERIAL_ZERO warning "SOA01" "RFC 1982", "give the zone a serial other than 0, which some programs take for none";
    SOA_TTL_BELOW_MINIMUM notice "SOA02" "RFC 2308 section 5", "set the TTL of the SOA to its minimum or more; the lower of both decides how long absence is remembered";
    // Name servers.
    NO_NS error "NS01" "RFC 1034 section 4.2.1", "put the NS records of the zone at its apex";
    FEW_NS error "DELEGATION01" "RFC 1034 section 4.1, RFC 2182 section 5", "name at least two name servers, and better three to seven";
    FEW_NS_OF_FAMILY warning "NS07" "RFC 3901 section 3, RFC 2182 section 5", "give at least two name servers addresses of this family";
    NS_SHARE_ADDRESS error "DELEGATION02" "RFC 2182 section 3.1", "give every name server addresses of its own";
    REFERRAL_512 warning "DELEGATION03" "RFC 1035 section 4.2.1", "shorten the names of the name servers, or let them share a parent";
    REFERRAL_1232 error "NS08" "RFC 9715 section 3.2", "shorten the names of the name servers, or use fewer of them";
    NS_ALIAS error "DELEGATION05" "RFC 2181 section 10.3", "name the name server by its own name";
    NS_WITHOUT_ADDRESS error "NS02" "RFC 1912 section 2.8, RFC 1034 section 4.2.1", "add the addresses of the name server; within a delegated zone they are its glue";
    NS_TTL notice "NS03" "RFC 2182 section 5", "give NS records and their addresses a TTL of a day or more; they never fail over";
    WILDCARD_NS error "NS04" "RFC 4592 section 4.2", "remove the NS records; a wildcard delegates nothing";
    NS_CYCLE error "NS05" "RFC 2182 section 3, RFC 1912 section 2.8", "name at least one name server whose address can be found without this zone";
    ONE_PREFIX warning "CONNECTIVITY04" SPREAD, "spread the name servers over at least two networks";
    ONE_AS warning "CONNECTIVITY03" SPREAD, "spread the name servers over at least two autonomous systems";
    ONE_TLD notice "NS06" SPREAD, "name the name servers under two top-level domains, so that no one of them is fatal";
    NS_UNREACHABLE warning "ADDRESS01" "RFC 6890", "give the name server addresses that can be reached from everywhere";
    PRIVATE_ADDRESS warning "ADDR01" "RFC 6890", "publish addresses that can be reached from everywhere";
    // Names.
    ODD_CHARACTER warning "SYNTAX01" HOST, "use letters, digits and hyphens in the names of hosts";
    EDGE_HYPHEN warning "SYNTAX02" HOST, "no label of a host's name begins or ends with a hyphen";
    DOUBLE_HYPHEN notice "SYNTAX03" "RFC 5891 section 4.2.3.1", "only labels that begin with xn-- have hyphens at their third and fourth place";
    NS_HOST_NAME error "SYNTAX04" HOST, "give the name server a name of letters, digits and hyphens";
    RNAME_AT error "SYNTAX05" "RFC 1912 section 2.2", "write the @ of the mailbox in the SOA as a dot";
    RNAME warning "SYNTAX06" "RFC 1035 section 3.3.13", "write the mailbox of the SOA as user.domain, and a backslash before each dot of the user";
    MNAME_HOST_NAME warning "SYNTAX07" HOST, "name the primary in the SOA by a name of letters, digits and hyphens";
    MX_HOST_NAME error "SYNTAX08" "RFC 5321 section 2.3.5", "give the mail server a name of letters, digits and hyphens, and no address";
    WILDCARD_WITHIN notice "NAME01" "RFC 4592 section 2.1.1", "put the asterisk leftmost; elsewhere it makes no wildcard of the name";
    APEX_TWICE warning "NAME02" "RFC 1035 section 5.1", "end the name with a dot; the origin was appended to a name that had it already";
    // Aliases.
    CNAME_AND_OTHER error "CNAME01" "RFC 1034 section 3.6.2, RFC 2181 section 10.1", "remove either the alias or everything else of that name";
    CNAMES error "CNAME02" "RFC 2181 section 10.1", "a name is an alias of one name only";
    CNAME_LOOP error "CNAME03" "RFC 1034 section 3.6.2", "let the chain of aliases end at a name that is none";
    CNAME_NOWHERE warning "CNAME04" "RFC 1912 section 2.4", "add the name that the alias means, or correct the alias";
    CNAME_CHAIN notice "CNAME05" "RFC 1034 section 3.6.2", "let aliases mean the last name directly; each step takes time and its TTL counts";
    BELOW_DNAME error "DNAME01" "RFC 6672 section 2.4", "remove what lies below the DNAME; nobody can see it";
    DNAMES error "DNAME02" "RFC 6672 section 2.4", "a name has one DNAME record";
    WILDCARD_DNAME warning "DNAME03" "RFC 4592 section 4.4", "remove the DNAME; at a wildcard servers do not agree on its meaning";
    // Delegations.
    OCCLUDED warning "CUT01" "RFC 2136 section 7.18, RFC 1034 section 4.2.1", "remove the records, or move them into the delegated zone; only glue is seen below a delegation";
    DS_WITHOUT_NS error "CUT02" "RFC 4035 section 2.4", "put DS records beside the NS records of the delegation only";
    // Mail.
    MX_ALIAS error "ZONE08" "RFC 2181 section 10.3, RFC 5321 section 5.1", "name the mail server by its own name";
    NO_MX notice "ZONE09" "RFC 7505", "publish MX records, or MX 0 . where the domain takes no mail";
    MX_WITHOUT_ADDRESS error "MX01" "RFC 5321 section 5.1", "add the addresses of the mail server, or correct its name";
    NULL_MX error "MX02" "RFC 7505 section 3", "MX 0 . must be the only MX record, with preference 0";
    SPFS error "ZONE11" "RFC 7208 section 4.5", "leave one v=spf1 record; with two of them neither holds";
    SPF_SYNTAX error "SPF01" "RFC 7208 section 12", "correct the term; receivers refuse the record as a whole";
    SPF_LOOKUPS error "SPF02" "RFC 7208 section 4.6.4", "use at most ten of include, a, mx, ptr, exists and redirect; write addresses instead";
    SPF_OPEN warning "SPF03" "RFC 7208 section 5.1", "end the record with -all or ~all; +all and nothing let everybody send";
    SPF_AFTER_ALL warning "SPF04" "RFC 7208 sections 5.1 and 6.1", "remove what comes after all; it is never looked at";
    SPF_PTR notice "SPF05" "RFC 7208 section 5.5", "replace ptr by addresses; it is slow and must not be used";
    SPF_TYPE notice "SPF06" "RFC 7208 section 3.1", "publish it as TXT; nobody asks for the type SPF any more";
    DMARCS error "DMARC01" "RFC 7489 section 6.6.3", "leave one v=DMARC1 record";
    DMARC_SYNTAX error "DMARC02" "RFC 7489 section 6.3", "begin with v=DMARC1; p=none, quarantine or reject as the second tag";
    DMARC_REPORTS notice "DMARC03" "RFC 7489 section 7.1", "let the other domain publish a _report._dmarc record that allows it";
    DKIM_SYNTAX error "DKIM01" "RFC 6376 section 3.6.1", "write tags as in v=DKIM1; k=rsa; p=BASE64, or p= alone to revoke";
    STS_SYNTAX error "STS01" "RFC 8461 section 3.1", "write v=STSv1; id= and 1 to 32 letters and digits";
    TLSRPT_SYNTAX error "STS02" "RFC 8460 section 3", "write v=TLSRPTv1; rua=mailto:… or https:…";
    // Services and keys.
    SRV_ALIAS error "SRV01" "RFC 2782", "name the host of the service by its own name";
    SRV_WITHOUT_ADDRESS error "SRV02" "RFC 2782", "add the addresses of the host, or correct its name";
    SRV_OWNER warning "SRV03" "RFC 2782, RFC 8552", "let the owner begin with _service._protocol";
    NAPTR_REGEXP error "NAPTR01" "RFC 3403 section 4.1, RFC 3402 section 3.2", "write the regexp as in !pattern!replacement! with i behind it or nothing, and the same mark three times; name only groups that the pattern has";
    NAPTR_BOTH warning "NAPTR02" "RFC 3403 section 4.1", "leave either the regexp empty or the replacement as a single dot";
    SSHFP_LENGTH error "SSHFP01" "RFC 4255 section 3.1, RFC 6594, RFC 7479", "SHA-1 fingerprints (type 1) have 20 octets, SHA-256 (type 2) 32";
    SSHFP_NUMBER warning "SSHFP02" "RFC 4255 section 3.1, RFC 6594, RFC 7479, RFC 8709", "use algorithm 1, 2, 3, 4 or 6 and fingerprint type 1 or 2";
    SSHFP_SHA1 notice "SSHFP03" "RFC 6594 section 3", "publish a SHA-256 fingerprint of the same key as well";
    TLSA_NUMBER error "TLSA01" "RFC 6698 section 2.1", "use a usage of 0 to 3, a selector of 0 or 1 and a matching type of 0 to 2";
    TLSA_LENGTH error "TLSA02" "RFC 6698 section 2.1.3", "SHA-256 associations (matching type 1) have 32 octets, SHA-512 (2) 64";
    TLSA_OWNER warning "TLSA03" "RFC 6698 section 3", "let the owner begin with _port._protocol, as in _25._tcp";
    CAA_FLAGS warning "CAA01" "RFC 8659 section 4.1", "use the flags 0 or 128";
    CAA_TAG warning "CAA02" "RFC 8659 section 4.1", "use a tag in small letters that is registered: issue, issuewild, iodef, issuemail, issuevmc, contactemail, contactphone";
    CAA_CRITICAL error "CAA03" "RFC 8659 section 4.1", "take the flag 128 off a tag that no authority knows; it forbids every certificate";
    CAA_ISSUE error "CAA04" "RFC 8659 section 4.2", "write the domain of an authority, parameters behind a semicolon, or a semicolon alone for nobody";
    CAA_IODEF error "CAA05" "RFC 8659 section 4.4", "write a mailto:, http: or https: address";
    NO_CAA notice "CAA06" "RFC 8659", "say at the apex which authorities may issue certificates";
    SVCB_ALIAS_PARAMS warning "SVCB01" "RFC 9460 section 2.4.2", "remove the parameters; with priority 0 they mean nothing";
    SVCB_ALIAS_SELF error "SVCB02" "RFC 9460 section 2.4.2", "let the alias mean another name";
    SVCB_HINTS error "SVCB03" "RFC 9460 section 7.3", "let the hints name addresses that the target has; both must change together";
    SVCB_MIXED warning "SVCB04" "RFC 9460 section 2.4.1", "use either records of priority 0 or others, and one record of priority 0 only";
    SVCB_TTL warning "SVCB05" "RFC 9460 section 7.3", "give the HTTPS records and the addresses of the name one TTL";
    SVCB_TARGET error "SVCB06" "RFC 9460 section 2.5", "add the addresses of the target, or correct its name";
    ZONEMD_SERIAL error "ZONEMD01" "RFC 8976 section 4", "make the digest anew whenever the zone changes; it names another serial";
    ZONEMD_DIGEST error "ZONEMD02" "RFC 8976 section 4", "make the digest anew whenever the zone changes";
    ZONEMD_PLACE warning "ZONEMD03" "RFC 8976 section 2", "put ZONEMD at the apex; elsewhere it means nothing";
    ZONEMD_DOUBLE error "ZONEMD04" "RFC 8976 section 2.2.3", "publish one digest for each scheme and algorithm";
    // DNSSEC data that is passed through.
    DS_LENGTH error "DS01" "RFC 4034 section 5.1.3, RFC 4509, RFC 6605", "SHA-1 digests (type 1) have 20 octets, SHA-256 (2) 32, SHA-384 (4) 48";
    DS_SHA1 warning "DNSSEC01" "RFC 8624 section 3.3", "use digest type 2, which is SHA-256";
    DNSKEY_PROTOCOL error "DNSKEY01" "RFC 4034 section 2.1.2", "the protocol of a DNSKEY record is 3";
    NSEC3_ITERATIONS warning "DNSSEC03" "RFC 9276 section 3.1", "use 0 iterations and no salt";
    CDS_PLACE error "CDS01" "RFC 7344 section 4.1", "put CDS and CDNSKEY at the apex";
    // Catalog zones.
    CATALOG_VERSION error "CATALOG01" "RFC 9432 section 4.2.1", "put exactly one TXT record with \"2\" at version and the zone's name";
    CATALOG_MEMBER error "CATALOG02" "RFC 9432 section 4.1", "give each member one PTR record, and each zone one member";
    CATALOG_NS warning "CATALOG03" "RFC 9432 section 4", "name invalid. and no other name server in a catalog";
    // Failover.
    STATE_IDENTITY error "STATE01" "RFC 7208, RFC 6698, RFC 4255, RFC 8659", "publish what is valid for both sites, always; only addresses change with the site";
    STATE_TTL error "STATE02" "RFC 2181 section 8, RFC 8767", "give sets that change with the site a TTL of at most 300 seconds, better 30 to 60";
    STATE_ABSENT error "STATE03" "RFC 2308 section 5", "let the set have records in every state; absence is remembered for the minimum of the SOA";
    STATE_TTL_HIGH notice "STATE04" "RFC 8767", "30 to 60 seconds are the best that resolvers honour";
    STATE_TTL_DIFFERS warning "STATE05" "RFC 2181 section 5.2", "give the set one TTL in every state";
}
