/* Attributes of an entry as libldap wants them: a list of LDAPMod, each with its list of values. */
#include "CLDAP.h"
#include <string.h>

/* Room for one more in a list of COUNT pointers that ends with NULL; where there is no memory, the old list stays as it is. */
static void **longer(void *list, size_t count)
{
    void **fresh = ldap_memrealloc(list, (count + 2) * sizeof *fresh);
    if (fresh != NULL) fresh[count] = fresh[count + 1] = NULL;
    return fresh;
}

static LDAPMod *append(struct cldap_changes *changes, int operation, const char *attribute)
{
    void **list = longer(changes->list, changes->count);
    if (list == NULL) return NULL;
    changes->list = (LDAPMod **)list;
    LDAPMod *one = ldap_memcalloc(1, sizeof *one);
    if (one == NULL) return NULL;
    one->mod_op = operation | LDAP_MOD_BVALUES;
    if ((one->mod_type = ldap_strdup(attribute)) == NULL) { ldap_memfree(one); return NULL; }
    changes->list[changes->count++] = one;
    return one;
}

int cldap_change(struct cldap_changes *changes, int operation, const char *attribute, const void *value, size_t length)
{
    LDAPMod *one = changes->count == 0 ? NULL : changes->list[changes->count - 1];
    if (one == NULL || one->mod_op != (operation | LDAP_MOD_BVALUES) || strcmp(one->mod_type, attribute) != 0) {
        if ((one = append(changes, operation, attribute)) == NULL) return -1;
    }
    if (value == NULL) return 0;
    size_t count = 0;
    while (one->mod_bvalues != NULL && one->mod_bvalues[count] != NULL) count++;
    void **values = longer(one->mod_bvalues, count);
    if (values == NULL) return -1;
    one->mod_bvalues = (struct berval **)values;
    struct berval source = { .bv_len = length, .bv_val = (char *)value };
    return (one->mod_bvalues[count] = ber_bvdup(&source)) == NULL ? -1 : 0;
}

void cldap_changes_free(struct cldap_changes *changes)
{
    if (changes->list != NULL) ldap_mods_free(changes->list, 1);
    changes->list = NULL;
    changes->count = 0;
}
